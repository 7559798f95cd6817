"""The same study on Ray and in local processes; a worker of Ray that dies."""

import psutil
import pytest
from tiny_studies import checkpoints, finish, log_of, numbers_of, start, tiny_file, wait_for

from fer_attention.study import read_records

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="Ray is not installed: fer_attention[ray]")

FIELDS = {"changes__epochs": 3, "changes__checkpoint_minutes": 0}
ON_RAY = ("--runner", "ray", "--workers", "1")


def test_ray_comes_to_the_records_of_local_processes(tmp_path):
    file = tiny_file(tmp_path, **FIELDS)
    finish(file, tmp_path / "local", "--workers", "1")
    out, err = finish(file, tmp_path / "ray", *ON_RAY)
    assert "4 of 4 runs are done" in out
    assert "Traceback" not in err
    assert len(numbers_of(tmp_path / "ray")) == 4
    assert numbers_of(tmp_path / "ray") == numbers_of(tmp_path / "local")
    assert len(log_of(tmp_path / "local")) == 4


def tasks_of(process):
    """Ray's processes that carry runs out."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.name().startswith("ray::_carry_out")]


def test_a_ray_worker_that_dies_costs_its_run_which_is_done_on_request(tmp_path):
    file, folder = tiny_file(tmp_path, **{**FIELDS, "changes__epochs": 20}), tmp_path / "ray"
    process = start(file, folder, *ON_RAY)
    wait_for(lambda: checkpoints(folder) and tasks_of(process), process)
    (task,) = tasks_of(process)
    task.kill()
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert "3 of 4 runs are done, 1 failed" in out
    (reason,) = read_records(folder).failed.values()
    assert reason.startswith("its Ray worker died: ")
    out, _ = finish(file, folder, *ON_RAY, "--retry-failed")
    assert "4 of 4 runs are done" in out
    assert len(numbers_of(folder)) == 4
