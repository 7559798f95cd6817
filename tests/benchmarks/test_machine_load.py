"""Features of the CPU and other work on the machine, in every record of speed."""

import argparse
import os
import subprocess
import sys

import machine_load
import pytest
from cost_record import Detections, Environment, ExportSpeed, Record, SpeedRuns, StepRates
from cost_setup import environment_of
from machine_load import BUSY, Load, add_option, check_before, cpu_features, refuse_if_busy, watched_load
from render_benchmarks import document

from tests.support.benchmark_scripts import case, record
from tests.support.paths import ROOT

RECORDS = ROOT / "benchmarks" / "records"
SPIN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"

linux = pytest.mark.skipif(not machine_load.STAT.is_file(), reason="needs /proc/stat")


@linux
def test_features_are_vector_instruction_sets():
    found = cpu_features()
    assert list(found) == sorted(set(found))
    assert "fpu" not in found
    assert environment_of("cpu", Load(0.0)).cpu_features == found


def ticks(monkeypatch, tmp_path, *, user, idle, own):
    """Let the system report these seconds at the end of a block, and none at its start."""
    path = tmp_path / "stat"
    monkeypatch.setattr(machine_load, "STAT", path)
    per_second = os.sysconf("SC_CLK_TCK")
    path.write_text("cpu 0 0 0 0 0 0 0 0 0 0\n")
    monkeypatch.setattr(machine_load.os, "times", lambda: (0.0,) * 5)
    with watched_load() as load:
        path.write_text(f"cpu {user * per_second} 0 0 {idle * per_second} 0 0 0 0 0 0\ncpu0 1\n")
        monkeypatch.setattr(machine_load.os, "times", lambda: (own, 0.0, 0.0, 0.0, 0.0))
    return load


@linux
@pytest.mark.parametrize(
    ("user", "idle", "own", "share"), [(10, 10, 10.0, 0.0), (10, 10, 5.0, 0.25), (20, 0, 4.0, 0.8)]
)
def test_other_work_is_what_the_cores_did_besides_this_process(monkeypatch, tmp_path, user, idle, own, share):
    load = ticks(monkeypatch, tmp_path, user=user, idle=idle, own=own)
    assert load.others == share
    assert load.busy == (share > BUSY)


@linux
def test_own_work_and_that_of_children_does_not_count_as_other_work():
    with watched_load() as load:
        exec(SPIN.format(seconds=1))  # noqa: S102
        subprocess.run([sys.executable, "-c", SPIN.format(seconds=1)], check=True)
        own = sum(os.times()[:4])
    assert own > 2
    assert load.others is not None
    assert 0 <= load.others <= 1


def test_without_a_figure_of_the_system_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_load, "STAT", tmp_path / "missing")
    with watched_load() as load:
        pass
    assert (load.others, load.busy) == (None, False)
    refuse_if_busy(load, allow=False, record="a.json")


def test_a_busy_machine_refuses_to_write_a_record_unless_allowed(capsys):
    with pytest.raises(SystemExit, match=r"other work took 63% of its cores' time.*--allow-busy"):
        refuse_if_busy(Load(0.63), allow=False, record="a.json")
    refuse_if_busy(Load(0.63), allow=True, record="a.json")
    refuse_if_busy(Load(0.63), allow=False, record=None)
    assert capsys.readouterr().err.count("not those of an idle machine") == 2
    refuse_if_busy(Load(0.05), allow=False, record="a.json")
    assert capsys.readouterr().err == ""


def test_a_machine_that_is_busy_at_the_start_is_noticed_before_the_work(monkeypatch):
    monkeypatch.setattr(machine_load, "watched_load", lambda: iter_load(Load(0.5)))
    with pytest.raises(SystemExit, match="busy"):
        check_before(allow=False, record="a.json", seconds=0)
    check_before(allow=True, record="a.json", seconds=0)
    check_before(allow=False, record=None, seconds=0)


def iter_load(load):
    return machine_load.contextmanager(lambda: iter([load]))()


def test_the_option_is_off_by_default():
    parser = argparse.ArgumentParser()
    add_option(parser)
    assert (parser.parse_args([]).allow_busy, parser.parse_args(["--allow-busy"]).allow_busy) == (False, True)


def test_the_page_names_the_records_of_a_busy_machine():
    quiet = record(case({"none plain": 100, "se fused": 103.0}))
    environment = quiet.environment.model_copy(update={"busy": True, "others_share": 0.63})
    busy = quiet.model_copy(update={"environment": environment})
    page = document({"a.json": busy})
    assert "Measured on a **busy machine**, so only ratios within a round mean much: `a.json`." in page
    assert "| 63% (**busy**) |" in page
    assert "| CPU, float32, ELU, **busy machine** | `se fused` 1.030" in page
    assert "**busy" not in document({"a.json": quiet})
    assert "| not recorded |" in document({"a.json": quiet})


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("attention_cost/*.json", Record),
        ("step_rate*.json", StepRates),
        ("speed_run*.json", SpeedRuns),
        ("faces*.json", Detections),
        ("export_speed*.json", ExportSpeed),
    ],
)
def test_committed_records_of_speed_fit_the_schema(pattern, kind):
    found = sorted(RECORDS.glob(pattern))
    assert found
    for path in found:
        assert isinstance(kind.model_validate_json(path.read_bytes()).environment, Environment)
