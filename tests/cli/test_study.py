"""`fer-attention study`: what it says, what it refuses, and with which code it ends."""

import builtins
import re
import sys

import pytest
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.study import engines, estimate, load_study, read_records, runner, study_names
from fer_attention.study.store import Store
from tests.support.tiny_studies import InlineEngine, contents, runs_of, tiny_file, tiny_study


@pytest.fixture(autouse=True)
def in_this_process_on_a_wide_screen(monkeypatch):
    monkeypatch.setattr(runner, "LocalEngine", InlineEngine)
    monkeypatch.setenv("COLUMNS", "200")


def study(*arguments, code=0):
    result = CliRunner().invoke(app, ["study", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def run(*arguments, code=0):
    return study("run", *arguments, "--device", "cpu", code=code)


@pytest.mark.slow
def test_the_dry_study_goes_from_its_plan_to_its_report(tmp_path):
    folder = tmp_path / "dry"
    planned = study("plan", "dry", "--output", folder, "--workers", 1, "--device", "cpu").output
    assert re.search(
        r"16 runs, 1 at a time: about \d+ (s|min) \(within a factor of two; from .* MB on", planned
    )
    assert "for starting processes, reading data and writing files" in planned
    assert "0 done, 0 failed, 16 open" in planned
    assert planned.count("resnetv2_18") == 8 + 1  # a line for each condition, and what was timed
    assert not folder.exists()
    done = run("dry", "--output", folder)
    assert f"16 of 16 runs are done. fer-attention study report {folder}" in done.output
    assert "16 of 16 done" in done.stderr
    found = read_records(folder)
    assert set(found.runs) == {one.id for one in runs_of(load_study("dry"))}
    assert (found.set_aside, found.failed) == ((), {})
    before = contents(folder / "runs")
    assert "16 of 16 runs are done" in run("dry", "--output", folder).output
    assert contents(folder / "runs") == before
    again = study("plan", "dry", "--output", folder).output
    assert "16 done, 0 failed, 0 open" in again
    assert "at a time" not in again
    assert f"Report: {folder / 'report'}" in study("report", folder).output
    assert (folder / "report").is_dir()


def test_the_list_names_every_study_with_its_question():
    said = study("list").output
    for name in study_names():
        assert name in said
    assert load_study("dry").question in said


def test_a_plan_over_its_budget_warns(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_start_seconds", lambda: 1.0)
    monkeypatch.setattr(estimate, "_macs_per_second", lambda run, device: (1e3, 8))
    file = tiny_file(tmp_path, budget={"hours": 0.5, "disk_gb": 1e-9})
    said = study("plan", file, "--workers", 1).stderr
    assert "warning: This exceeds the study's budget of 0.5 hours." in said
    assert "warning: This exceeds the study's budget of 1e-09 GB." in said
    assert "budget" not in study("plan", tiny_file(tmp_path, budget={"hours": 1e6}), "--workers", 1).stderr


def test_failed_runs_give_exit_code_1_and_restart_on_request(tmp_path, monkeypatch):
    bad, real = runs_of(tiny_study())[0], engines.execute

    def execute(run, *arguments, **options):
        if run.id == bad.id:
            raise RuntimeError("no [bold] memory")
        return real(run, *arguments, **options)

    monkeypatch.setattr(engines, "execute", execute)
    file = tiny_file(tmp_path)
    result = run(file, "--output", tmp_path / "study", code=1)
    assert f"error: {bad.title}: RuntimeError: no [bold] memory" in result.stderr
    assert "3 of 4 runs are done, 1 failed (--retry-failed restarts them)" in result.output
    assert "3 done, 1 failed, 0 open" in study("plan", file, "--output", tmp_path / "study").output
    monkeypatch.setattr(engines, "execute", real)
    assert "1 failed" in run(file, "--output", tmp_path / "study", code=1).output
    assert "4 of 4 runs are done." in run(file, "--output", tmp_path / "study", "--retry-failed").output


def test_damaged_records_are_a_warning(tmp_path):
    file = tiny_file(tmp_path, replications__seeds=1)
    run(file, "--output", tmp_path / "study")
    record = next((tmp_path / "study" / "runs").glob("*/record.json"))
    record.write_text("{")
    said = run(file, "--output", tmp_path / "study")
    assert re.search(r"warning: resnetv2_18.*record.json is damaged.*set_aside.*is repeated", said.stderr)


def test_runs_of_another_runner_are_counted_separately(tmp_path):
    (tmp_path / "study" / "locks").mkdir(parents=True)
    held = runs_of(tiny_study(replications__seeds=1))[0]
    with Store(tmp_path / "study").claim(held.id):
        said = run(tiny_file(tmp_path, replications__seeds=1), "--output", tmp_path / "study").output
    assert "1 of 2 runs are done, 1 were taken by another runner" in said


def test_ctrl_c_says_how_to_resume(tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "execute", stop)
    folder = tmp_path / "study"
    assert run(tiny_file(tmp_path), "--output", folder, code=130).stderr.splitlines()[-1] == (
        f"error: stopped. Finished work is saved in {folder}; the same command resumes from there."
    )


WRONG = [
    (["dyr"], {}, "Unknown study 'dyr'. Did you mean 'dry'?"),
    (["absent.yaml"], {}, "There is no study file absent.yaml"),
    (["two-by-two"], {}, "The data set fer2013 needs a path: use --data fer2013=PATH."),
    (
        ["two-by-two", "--data", "/nowhere/faces"],
        {},
        "The data set fer2013 cannot be read: /nowhere/faces does",
    ),
    (["two-by-two", "--data", "fer=/nowhere"], {}, "The study has no data set 'fer'; it has fer2013."),
    (["two-by-two", "--data", "fer2013="], {}, "--data takes one PATH for fer2013; got fer2013="),
    (["two-by-two", "--data", "a", "--data", "fer2013=b"], {}, "one PATH for fer2013; got a and fer2013=b"),
    (
        ["paper-table", "--data", "/nowhere"],
        {},
        "--data takes NAME=PATH, one for each of fer2013, ckplus, jaffe",
    ),
    (["dry", "--device", "gpu"], {}, "--device is auto, cpu, cuda or cuda:N; got 'gpu'"),
    ([None], {"changes__epohcs": 3}, "No field 'epohcs'. Did you mean 'epochs'?"),
    ([None], {"factors__attention": "cbma"}, "Unknown attention 'cbma'. Did you mean 'cbam'?"),
    ([None], {"factors__attention": "cbam"}, "resnetv2_18_cbam_elu cannot be built"),
    ([None], {"data__bars__protocol": "loso"}, "bars: loso needs subjects"),
    ([None], {"data__bars__folds": [4]}, "bars: official has fold 0 only, got fold 4."),
]


@pytest.mark.parametrize("name", ["plan", "run"])
@pytest.mark.parametrize(("arguments", "fields", "message"), WRONG, ids=lambda value: str(value)[:50])
def test_an_impossible_study_ends_with_one_message_and_writes_nothing(
    tmp_path, name, arguments, fields, message
):
    arguments = [tiny_file(tmp_path, **fields) if one is None else one for one in arguments]
    result = study(name, *arguments, "--output", tmp_path / "study", code=2)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("error: ") == 1
    assert message in result.stderr
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "slurm"], "Unknown engine 'slurm'. Known: local, ray."),
        (["--address", "auto"], "--address auto is for --engine ray."),
        (["--output", "{file}/study"], "Cannot write into "),
    ],
)
def test_an_unwritable_folder_or_unknown_engine_is_an_error(tmp_path, options, message):
    (tmp_path / "file").write_text("")
    options = [option.format(file=tmp_path / "file") for option in options]
    if "--output" not in options:
        options += ["--output", str(tmp_path / "study")]
    assert message in run("dry", *options, code=2).stderr


@pytest.mark.parametrize("missing", ["filelock", "psutil"])
def test_a_missing_library_names_the_extra(tmp_path, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == missing:
            raise ImportError(name)
        return real(name, *arguments, **options)

    for name in [name for name in sys.modules if name.startswith("fer_attention.study")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    result = study("run", "dry", "--output", tmp_path / "study", code=2)
    assert "pip install 'fer_attention[study]'" in result.stderr


def test_a_report_of_a_folder_without_a_study_is_refused(tmp_path):
    assert "is not the folder of a study" in study("report", tmp_path, code=2).stderr
