"""Studies on Ray: the same records as local processes, also after the death of workers."""

import signal

import psutil
import pytest

from fer_attention.study import read_records
from tests.support.tiny_studies import checkpoints, finish, log_of, numbers_of, start, tiny_file, wait_for

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="Ray is not installed: fer_attention[ray]")

FIELDS = {"changes__epochs": 3, "changes__checkpoint_minutes": 0}
ON_RAY = ("--engine", "ray", "--workers", "1")


def test_ray_gives_the_same_records_as_local_processes(tmp_path):
    file = tiny_file(tmp_path, **FIELDS)
    finish(file, tmp_path / "local", "--workers", "1")
    out, err = finish(file, tmp_path / "ray", *ON_RAY)
    assert "4 of 4 runs are done" in out
    assert "Traceback" not in err
    assert len(numbers_of(tmp_path / "ray")) == 4
    assert numbers_of(tmp_path / "ray") == numbers_of(tmp_path / "local")
    assert len(log_of(tmp_path / "local")) == 4


def tasks_of(process):
    """Return Ray's processes that execute runs."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.name().startswith("ray::work")]


def kill_the_task_of(process, folder, before=None):
    """Kill the Ray process in training, other than `before`, and return it."""
    wait_for(lambda: checkpoints(folder) and [one for one in tasks_of(process) if one != before], process)
    (task,) = tasks_of(process)
    task.kill()
    return task


LONG = {**FIELDS, "changes__epochs": 20}


def test_a_run_survives_the_death_of_its_ray_worker(tmp_path):
    file, folder = tiny_file(tmp_path, **LONG), tmp_path / "ray"
    process = start(file, folder, *ON_RAY)
    kill_the_task_of(process, folder)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "4 of 4 runs are done" in out
    assert "its Ray worker died: " in err


def test_a_run_fails_after_two_deaths_on_ray_and_can_be_retried(tmp_path):
    file, folder = tiny_file(tmp_path, **LONG), tmp_path / "ray"
    process = start(file, folder, *ON_RAY)
    kill_the_task_of(process, folder, before=kill_the_task_of(process, folder))
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert "3 of 4 runs are done, 1 failed" in out
    (reason,) = read_records(folder).failed.values()
    assert reason.startswith("its Ray worker died: ")
    out, _ = finish(file, folder, *ON_RAY, "--retry-failed")
    assert "4 of 4 runs are done" in out
    assert len(numbers_of(folder)) == 4


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
