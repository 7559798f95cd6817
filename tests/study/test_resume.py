"""Studies in real processes that are killed, interrupted, duplicated or run out of disk space."""

import os
import signal
from collections import Counter

import pytest

from fer_attention.study import read_records
from tests.support.live import children_of, times, wait_for, wait_until_gone
from tests.support.tiny_studies import (
    checkpoints,
    finish,
    hold_of,
    log_of,
    numbers_of,
    runs_of,
    start,
    tiny_file,
    tiny_study,
    workers_of,
)

pytestmark = pytest.mark.slow

FIELDS = {"changes__epochs": 6, "changes__checkpoint_minutes": 0}  # a checkpoint after every step


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Results of an undisturbed study, from two processes on one core."""
    folder = tmp_path_factory.mktemp("whole")
    out, err = finish(tiny_file(folder, **FIELDS), folder / "study", "--workers", "2")
    assert "4 of 4 runs are done" in out
    assert "Traceback" not in err
    assert sorted(log_of(folder / "study")) == sorted(run.id for run in runs_of(tiny_study(**FIELDS)))
    return numbers_of(folder / "study")


def records(folder):
    """Return the modification time of every finished run's record; other files come and go meanwhile."""
    return times(folder.glob("runs/*/record.json"))


def test_a_killed_study_resumes_with_the_same_results(tmp_path, whole):
    """Kill the study after the start of a run, after a checkpoint, and after a finished run."""
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    for workers, event in ((1, log_of), (2, checkpoints), (1, records)):
        process = start(file, folder, "--workers", str(workers))
        began, before = len(log_of(folder)), records(folder)
        known = set(before) if event is records else set()
        wait_for(lambda began=began: len(log_of(folder)) > began, process)
        wait_for(lambda event=event, known=known: set(event(folder)) - known, process)
        children = [child.pid for child in children_of(process)]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert children
        assert wait_until_gone(children) == []  # no orphan continues to write
        assert not list(folder.glob("runs/*/failure.json"))
        assert {path: records(folder)[path] for path in before} == before
        assert read_records(folder).set_aside == ()
        found = numbers_of(folder)
        assert found == {run: whole[run] for run in found}
    before, log = records(folder), log_of(folder)
    assert before
    out, _ = finish(file, folder, "--workers", "2")
    assert "4 of 4 runs are done" in out
    assert numbers_of(folder) == whole
    assert {path: records(folder)[path] for path in before} == before
    assert len(log_of(folder)) - len(log) == 4 - len(before)  # finished runs are not started again
    left = [path.name for path in folder.glob("runs/*/*")]
    assert sorted(left) == ["predictions.npz"] * 4 + ["record.json"] * 4


def test_ctrl_c_saves_explains_how_to_resume_and_exits_with_130(tmp_path, whole):
    """A terminal sends the signal to the whole group; other programs may send it to the command only."""
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    for send in (os.killpg, os.kill):
        before = times(checkpoints(folder)).items()
        process = start(file, folder, "--workers", "1")
        wait_for(lambda before=before: times(checkpoints(folder)).items() - before, process)
        send(process.pid, signal.SIGINT)
        _, err = process.communicate()
        assert process.returncode == 130
        assert f"stopped. Finished work is saved in {folder}; the same command resumes from there." in err
        assert "Traceback" not in err
        assert not list(folder.glob("runs/*/failure.json"))
        assert checkpoints(folder)
        assert len(numbers_of(folder)) < 4
    finish(file, folder, "--workers", "1")
    assert numbers_of(folder) == whole


def test_a_killed_worker_does_not_affect_results(tmp_path, whole):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    hold_of(folder).touch()
    process = start(file, folder, "--workers", "2")
    wait_for(lambda: len(checkpoints(folder)) == 2, process)
    workers_of(process)[0].kill()
    hold_of(folder).unlink()
    out, err = process.communicate()
    assert process.returncode == 0
    assert "4 of 4 runs are done" in out
    assert "Traceback" not in err
    assert "SIGKILL: perhaps out of memory; use fewer workers. The run resumes from its" in " ".join(
        err.split()
    )
    assert numbers_of(folder) == whole
    assert (Counter(log_of(folder)) - Counter(list(whole))).total() <= 1  # only the killed run started twice


def test_a_run_fails_after_two_killed_workers(tmp_path, whole):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    hold_of(folder).touch()
    process = start(file, folder, "--workers", "1")
    for begun in (1, 2):
        wait_for(lambda begun=begun: len(log_of(folder)) == begun and checkpoints(folder), process)
        (worker,) = workers_of(process)
        worker.kill()
    hold_of(folder).unlink()
    out, err = process.communicate()
    assert process.returncode == 1
    assert "3 of 4 runs are done, 1 failed (--retry-failed restarts them)" in out
    assert "Traceback" not in err
    ((failed, reason),) = read_records(folder).failed.items()
    assert reason == "its process was ended by SIGKILL: perhaps out of memory; use fewer workers"
    assert reason in err
    assert numbers_of(folder) == {run: numbers for run, numbers in whole.items() if run != failed}


def test_two_runners_in_one_folder_execute_each_run_once(tmp_path, whole):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    runners = [start(file, folder, "--workers", "1") for _ in range(2)]
    outputs = [process.communicate() for process in runners]
    assert [process.returncode for process in runners] == [0, 0], outputs
    assert sorted(log_of(folder)) == sorted(whole)
    assert numbers_of(folder) == whole
    assert not any("Traceback" in err for _, err in outputs)


def test_runs_fail_on_a_full_disk_and_can_be_retried(tmp_path, whole):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    _, err = finish(file, folder, "--workers", "1", code=1, LARGEST_FILE="60000")
    assert err.count("Cannot write") == 4
    assert "Traceback" not in err
    assert numbers_of(folder) == {}
    finish(file, folder, "--workers", "1", "--retry-failed")
    assert numbers_of(folder) == whole


def test_a_full_disk_is_reported_before_anything_starts(tmp_path):
    file, folder = tiny_file(tmp_path), tmp_path / "study"
    _, err = finish(file, folder, "--workers", "1", code=2, LARGEST_FILE="0")
    assert err.startswith(f"error: Cannot write into {folder}: ")
    assert log_of(folder) == []
