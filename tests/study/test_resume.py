"""Real processes that are killed, stopped, starved and doubled: the same records, each run once."""

import os
import random
import resource
import signal
import time

import psutil
import pytest

from fer_attention.study import read_records
from tests.support.tiny_studies import (
    checkpoints,
    contents,
    finish,
    log_of,
    numbers_of,
    runs_of,
    start,
    tiny_file,
    tiny_study,
    wait_for,
    workers_of,
)

pytestmark = pytest.mark.slow

FIELDS = {"changes__epochs": 6, "changes__checkpoint_minutes": 0}  # a checkpoint after every step


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The records of a study that nothing disturbed, by two processes on one core."""
    folder = tmp_path_factory.mktemp("whole")
    out, err = finish(tiny_file(folder, **FIELDS), folder / "study", "--workers", "2")
    assert "4 of 4 runs are done" in out
    assert "Traceback" not in err
    assert sorted(log_of(folder / "study")) == sorted(run.id for run in runs_of(tiny_study(**FIELDS)))
    return numbers_of(folder / "study")


def records(folder):
    return {path: time for path, time in contents(folder).items() if path.name == "record.json"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path, whole, workers):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    generator = random.Random(workers)
    kills = 0
    while kills < 4 and len(records(folder)) < 4:
        process = start(file, folder, "--workers", str(workers))
        began, before = len(log_of(folder)), records(folder)
        wait_for(lambda begun=began: len(log_of(folder)) > begun, process)
        time.sleep(generator.uniform(0, 0.8))
        children = psutil.Process(process.pid).children(recursive=True)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []  # no orphan goes on writing
        assert not list(folder.glob("runs/*/failure.json"))
        assert {path: records(folder)[path] for path in before} == before
        assert read_records(folder).set_aside == ()
        assert {run: numbers_of(folder)[run] for run in numbers_of(folder)} == {
            run: whole[run] for run in numbers_of(folder)
        }
    assert kills > 0
    before, log = records(folder), log_of(folder)
    out, _ = finish(file, folder, "--workers", str(workers))
    assert "4 of 4 runs are done" in out
    assert numbers_of(folder) == whole
    assert {path: records(folder)[path] for path in before} == before
    assert len(log_of(folder)) - len(log) == 4 - len(before)  # what was done is not begun again
    left = [path.name for path in folder.glob("runs/*/*")]
    assert sorted(left) == ["predictions.npz"] * 4 + ["record.json"] * 4


@pytest.mark.parametrize("whom", ["all", "parent"])
def test_ctrl_c_saves_says_how_to_go_on_and_exits_130(tmp_path, whole, whom):
    """A terminal sends it to the whole group; others may send it to the command alone."""
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    process = start(file, folder, "--workers", "1")
    wait_for(lambda: checkpoints(folder), process)
    (os.killpg if whom == "all" else os.kill)(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert f"stopped. Finished work is saved in {folder}; the same command resumes from there." in err
    assert "Traceback" not in err
    assert not list(folder.glob("runs/*/failure.json"))
    kept = checkpoints(folder)
    assert kept
    assert len(numbers_of(folder)) < 4
    finish(file, folder, "--workers", "1")
    assert numbers_of(folder) == whole


def kill_the_worker_of(process, folder, begun):
    """Kill the worker that is at the checkpoint of a study's run `begun`; counted from 1."""
    wait_for(lambda: len(log_of(folder)) == begun and checkpoints(folder), process)
    (worker,) = workers_of(process)
    worker.kill()


def test_a_killed_worker_loses_nothing_and_disturbs_no_other(tmp_path, whole):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    process = start(file, folder, "--workers", "2")
    wait_for(lambda: len(checkpoints(folder)) == 2, process)
    workers_of(process)[0].kill()
    out, err = process.communicate()
    assert process.returncode == 0
    assert "4 of 4 runs are done" in out
    assert "Traceback" not in err
    assert "SIGKILL: perhaps out of memory; fewer workers need less. The run resumes from its" in " ".join(
        err.split()
    )
    assert numbers_of(folder) == whole
    assert len(log_of(folder)) == 5  # the killed run was begun twice, every other once


def test_a_run_whose_worker_is_killed_twice_fails_and_is_done_on_request(tmp_path, whole):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    process = start(file, folder, "--workers", "1")
    kill_the_worker_of(process, folder, 1)
    kill_the_worker_of(process, folder, 2)
    out, err = process.communicate()
    assert process.returncode == 1
    assert "3 of 4 runs are done, 1 failed (--retry-failed restarts them)" in out
    assert "Traceback" not in err
    (reason,) = read_records(folder).failed.values()
    assert reason == "its process was ended by SIGKILL: perhaps out of memory; fewer workers need less"
    assert reason in err
    before = records(folder)
    out, _ = finish(file, folder, "--workers", "1", "--retry-failed")
    assert "4 of 4 runs are done" in out
    assert numbers_of(folder) == whole
    assert {path: records(folder)[path] for path in before} == before


def test_two_runners_in_one_folder_do_every_run_once(tmp_path, whole):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    runners = [start(file, folder, "--workers", "1") for _ in range(2)]
    said = [process.communicate() for process in runners]
    assert [process.returncode for process in runners] == [0, 0], said
    assert sorted(log_of(folder)) == sorted(whole)
    assert numbers_of(folder) == whole
    assert not any("Traceback" in err for _, err in said)


def no_large_files():
    """Stands for a full disk: the kernel refuses to write on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def no_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_disk_that_fills_up_fails_runs_with_the_reason_and_is_made_good(tmp_path, whole):
    file, folder = tiny_file(tmp_path, **FIELDS), tmp_path / "study"
    _, err = finish(file, folder, "--workers", "1", code=1, preexec_fn=no_large_files)
    assert err.count("Cannot write") == 4
    assert "Traceback" not in err
    assert numbers_of(folder) == {}
    finish(file, folder, "--workers", "1", "--retry-failed")
    assert numbers_of(folder) == whole


def test_a_full_disk_is_said_before_anything_is_started(tmp_path):
    file, folder = tiny_file(tmp_path), tmp_path / "study"
    started = start(file, folder, "--workers", "1", preexec_fn=no_files)
    _, err = started.communicate()
    assert started.returncode == 2
    assert err.startswith(f"error: Cannot write into {folder}: ")
    assert log_of(folder) == []
