"""The speed run: its commands, its table, and the committed record."""

import sys

import pytest
import speed_run
from cost_record import Environment, SpeedRun, SpeedRuns

from fer_attention.training import load_recipe
from tests.support.paths import ROOT
from tests.support.tiny_campaigns import write_faces

RECORD = ROOT / "benchmarks" / "records" / "speed_run.cpu.json"


def runs(*accuracies):
    times = {"train_seconds": 300.0, "evaluate_seconds": 30.0}
    return tuple(
        SpeedRun(
            seed=seed,
            precision="float32",
            epoch=3,
            public=share - 0.01,
            private=share,
            private_without_copies=share - 0.02,
            **times,
        )
        for seed, share in enumerate(accuracies)
    )


def record_of(found):
    machine = {"fer_attention": "0", "torch": "2", "timm": "1", "python": "3", "device": "cpu", "threads": 2}
    return SpeedRuns(
        recipe="speedrun", command="c", environment=Environment(**machine, cpu_capability="x"), runs=found
    )


def test_the_table_has_runs_and_their_mean_with_students_interval():
    lines = speed_run.table(record_of(runs(0.64, 0.65, 0.66))).splitlines()
    assert lines[2] == "| 0 | 5.5 | 63.00% | 64.00% | 62.00% |"
    low, high = (65 + sign * 4.302653 / 3**0.5 for sign in (-1, 1))  # t of two degrees of freedom
    assert lines[-1].endswith(
        f"| 65.00% ({low:.2f} to {high:.2f}) | 63.00% ({low - 2:.2f} to {high - 2:.2f}) |"
    )
    assert "| 5.5 |" in lines[-1]


@pytest.mark.slow
def test_runs_are_the_users_commands(tmp_path, monkeypatch, capfd):
    words = ["--data", write_faces(tmp_path), "--output", tmp_path / "runs", "--seeds", 0, 1]
    words += ["--record", tmp_path / "record.json", "--allow-busy"]
    words += ["--set", "epochs=1", "--set", "batch_size=8", "--set", "precision=float32"]
    monkeypatch.setattr(sys, "argv", ["speed_run.py", *map(str, words)])
    speed_run.main()
    record = SpeedRuns.model_validate_json((tmp_path / "record.json").read_bytes())
    assert [run.seed for run in record.runs] == [0, 1]
    assert all(min(run.train_seconds, run.evaluate_seconds) > 0 for run in record.runs)
    assert (tmp_path / "runs" / "seed1" / "best.safetensors").is_file()
    assert speed_run.table(record) in capfd.readouterr().out
    with pytest.raises(SystemExit):  # a run that resumes has no time
        speed_run.main()
    assert "Choose a new folder" in capfd.readouterr().err


def test_the_page_has_the_tables_of_the_committed_record_and_of_the_budget():
    record = SpeedRuns.model_validate_json(RECORD.read_bytes())
    assert len({run.seed for run in record.runs}) >= 5
    assert record.recipe == speed_run.RECIPE
    assert not record.environment.busy
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert speed_run.table(record) in page
    assert speed_run.budget() in page
    assert load_recipe(record.recipe).epochs >= max(run.epoch for run in record.runs)
