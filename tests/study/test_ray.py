"""Studies on Ray: the same records as local processes, also after the death of workers."""

import signal

import pytest

from fer_attention.study import read_records, run_study, runner
from tests.support.live import children_of, wait_for
from tests.support.tiny_studies import (
    InlineEngine,
    checkpoints,
    finish,
    numbers_of,
    start,
    tiny_file,
    tiny_study,
)

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="Ray is not installed: fer_attention[ray]")

FIELDS = {"changes__epochs": 3, "changes__checkpoint_minutes": 0, "replications__seeds": 1}
ON_RAY = ("--engine", "ray", "--workers", "1")


def test_ray_gives_the_same_records_as_this_process(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "LocalEngine", InlineEngine)
    run_study(tiny_study(**FIELDS), tmp_path / "here", device="cpu")
    out, err = finish(tiny_file(tmp_path, **FIELDS), tmp_path / "ray", *ON_RAY)
    assert "2 of 2 runs are done" in out
    assert "Traceback" not in err
    assert len(numbers_of(tmp_path / "ray")) == 2
    assert numbers_of(tmp_path / "ray") == numbers_of(tmp_path / "here")


LONG = {**FIELDS, "changes__epochs": 20}


def test_a_run_on_ray_survives_one_death_of_its_worker_and_fails_after_two(tmp_path):
    file, folder = tiny_file(tmp_path, **LONG), tmp_path / "ray"
    process, killed = start(file, folder, *ON_RAY), set()

    def tasks():
        return [
            child
            for child in children_of(process)
            if child.name.startswith("ray::work") and child.pid not in killed
        ]

    def begun():
        return checkpoints(folder) and tasks()

    def begun_after_a_failure():
        return list(folder.glob("runs/*/failure.json")) and tasks()

    for event in (begun, begun, begun_after_a_failure):  # the first run dies twice, the second one once
        for task in wait_for(event, process):
            task.kill()
            killed.add(task.pid)
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert "1 of 2 runs are done, 1 failed" in out
    assert "its Ray worker died: " in err
    (reason,) = read_records(folder).failed.values()
    assert reason.startswith("its Ray worker died: ")


def test_ctrl_c_on_ray_saves_a_checkpoint(tmp_path):
    """With a checkpoint every hour, the only checkpoint is that of Ctrl-C."""
    fields = {
        **LONG,
        "changes__checkpoint_minutes": 60,
        "changes__epochs": 1,
        "data__bars__options__images": 21_000,
    }
    file, folder = tiny_file(tmp_path, **fields), tmp_path / "ray"
    process = start(file, folder, *ON_RAY)
    wait_for(lambda: list(folder.glob("runs/*/training/config.json")), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert checkpoints(folder)
    assert not list(folder.glob("runs/*/failure.json"))
