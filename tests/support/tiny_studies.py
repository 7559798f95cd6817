"""Helpers for tests of studies: a study of seconds on synthetic images, real processes, comparisons."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import torch
import yaml

from fer_attention.study import StudyConfig, expand
from fer_attention.study.datasets import DataSets
from fer_attention.study.engines import _data, work
from tests.support.forked import python
from tests.support.live import children_of, files_below, times

TINY = {
    "title": "A tiny study",
    "question": "Does it run?",
    "factors": {"backbone": "resnetv2_18", "attention": ["none", "eca"], "activation": "elu"},
    "data": {
        "bars": {"data_format": "synthetic", "options": {"images": 70, "size": 16}, "protocol": "official"}
    },
    "recipe": "quick",
    "changes": {
        "structure": {"width": 0.125, "stem": "half", "img_size": 16},
        "epochs": 1,
        "batch_size": 8,
        "precision": "float32",
    },
    "replications": {"seeds": 2},
    "statistics_images": 8,
}


def merged(first, second):
    """Merge `second` into `first`; a dotted name such as `changes.epochs` is a nested field."""
    result = json.loads(json.dumps(first))
    for path, value in second.items():
        *parents, last = path.split(".")
        fields = result
        for parent in parents:
            fields = fields.setdefault(parent, {})
        fields[last] = value
    return result


def tiny_fields(**changes):
    """Return the fields of the tiny study; `changes__epochs=2` stands for `changes.epochs`."""
    return merged(TINY, {name.replace("__", "."): value for name, value in changes.items()})


def tiny_study(**changes):
    return StudyConfig.model_validate(tiny_fields(**changes))


def tiny_file(folder, **changes):
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_fields(**changes), sort_keys=False))
    return path


def runs_of(study):
    return expand(study, DataSets(study).all())


class InlineEngine:
    """Engine that executes runs in this process, one after the other."""

    capacity = 1

    def __init__(self, configs):
        self.config = configs[0]

    def submit(self, run):
        threads = torch.get_num_threads()
        future = Future()
        try:
            work(run, replace(self.config, threads=1))
        finally:
            torch.set_num_threads(threads)
        future.set_result(None)
        return future

    def cause(self, ended):
        return str(ended.exception())

    def close(self):
        _data.clear()


TIMES = ("train_seconds", "images_per_second", "latency_ms", "seconds")


def numbers_of(folder):
    """Read the records of a study by run id, without times, which no two runs share."""
    found = {}
    for path in sorted((folder / "runs").glob("*/record.json")):
        record = json.loads(path.read_text())
        del record["finished"]
        for part in (record["cost"], *record["history"]):
            for name in TIMES:
                part.pop(name, None)
        found[path.parent.name] = record
    return found


COMMAND = """
import os, resource, time
from pathlib import Path

if hasattr(os, "sched_setaffinity"):  # one core, so one thread: equal sums with one worker or two
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
if size := os.environ.get("LARGEST_FILE"):  # simulates a full disk: the kernel refuses to write more
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
import fer_attention.study.engines as engines

def logged(run, *arguments, _execute=engines.execute, **options):
    with Path(os.environ["STUDY_LOG"]).open("a") as log:
        log.write(f"{run.id}\\n")
    return _execute(run, *arguments, **options)

def waiting(temporary, path, *, _replace=os.replace):
    _replace(temporary, path)
    while Path(path).name == "checkpoint.pt" and Path(os.environ["STUDY_HOLD"]).exists():
        time.sleep(0.01)

os.replace = waiting
engines.execute = logged  # spawned workers run this file too, under another name
if __name__ == "__main__":
    from fer_attention.cli import app
    app()
"""


def log_of(folder):
    """Read the id of every run that a process started, in order."""
    log = folder.with_name(f"{folder.name}.log")
    return log.read_text().split() if log.exists() else []


def hold_of(folder):
    """Return the path of a file; as long as it exists, runs wait when they have written a checkpoint."""
    return folder.with_name(f"{folder.name}.hold")


def start(study_file, folder, *options, **variables):
    """Start `fer-attention study run` in its own process and group, on one core."""
    script = folder.with_name(f"command_{folder.name}.py")
    script.write_text(COMMAND)
    return python(
        *(script, "study", "run", study_file, "--output", folder, "--device", "cpu", *options),
        start_new_session=True,
        STUDY_HOLD=str(hold_of(folder)),
        STUDY_LOG=str(folder.with_name(f"{folder.name}.log")),
        RAY_USAGE_STATS_ENABLED="0",
        **variables,
    )


def finish(study_file, folder, *options, code=0, **variables):
    """Run `fer-attention study run` to its end; return its standard output and error."""
    running = start(study_file, folder, *options, **variables)
    out, err = running.communicate()
    assert running.returncode == code, err
    return out, err


def checkpoints(folder):
    """List the checkpoints of unfinished runs."""
    return [
        path
        for path in folder.glob("runs/*/training/checkpoint.pt")
        if not (path.parents[1] / "record.json").exists()
    ]


def workers_of(process):
    """List the worker processes of a study."""
    return [child for child in children_of(process) if "spawn_main" in " ".join(child.command)]


def contents(folder: Path):
    """Return the modification time of every file of a study that no process is writing to."""
    return times(files_below(folder))
