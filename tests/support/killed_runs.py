"""Runs of `predict` and `faces` over a folder that are killed at random moments, and end like a whole run."""

import random
import signal
import time

from tests.support.forked import python

JOURNALS = {"predict": ".predict.jsonl", "faces": ".faces.jsonl"}


def contents(folder):
    """Return all files below a folder that no process writes to, but journals and locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(tuple(JOURNALS.values()))
    }


def start(command, photos, output):
    """Start a run of a command."""
    options = ["--output", output, "--detector", "none", "--workers", "2", "--device", "cpu"]
    if command == "predict":
        options += ["--jsonl", output.with_suffix(".jsonl"), "--quiet"]
    return python("-m", "fer_attention.cli", command, photos, *options)


def finish(process):
    """Wait for the end of a run, which must succeed."""
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors


def lines(file):
    """Return the number of lines of a file that may not exist yet."""
    return file.read_bytes().count(b"\n") if file.exists() else 0


def killed(process, journal, draw):
    """Kill a run, in four of five cases after its next finished chunk; return False if it had ended."""
    before, end = lines(journal), time.monotonic() + draw.uniform(0, 2)
    after_a_chunk = draw.random() < 0.8
    while lines(journal) == before if after_a_chunk else time.monotonic() < end:
        if process.poll() is not None:
            break
        time.sleep(0.001)
    else:
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
    output, errors = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), output + errors
    return process.returncode != 0


def kill_and_compare(command, photos, work, *, kills, seed):
    """Run a command over photos until it was killed so often; each end has the files of a whole run."""
    draw, whole = random.Random(seed), work / "whole"
    finish(start(command, photos, whole))
    expected = contents(whole)
    done = rounds = 0
    while done < kills:
        rounds += 1
        output = work / f"round{rounds}"
        while done < kills and killed(start(command, photos, output), output / JOURNALS[command], draw):
            done += 1
        finish(start(command, photos, output))
        assert contents(output) == expected
        if command == "predict":
            records = (one.with_suffix(".jsonl").read_bytes() for one in (output, whole))
            assert len({*records}) == 1
