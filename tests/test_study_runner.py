"""Carrying a study out: what is done stays done, what fails costs itself alone."""

import json
from collections import deque
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest
import torch
from tiny_studies import InlinePool, contents, numbers_of, runs_of, tiny_study

from fer_attention.data import DataError
from fer_attention.study import StudyError, datasets, progress, read_records, run_study, runner, worker
from fer_attention.study.datasets import DataSets
from fer_attention.study.progress import Tracker
from fer_attention.study.records import FAILURE, PREDICTIONS, RECORD
from fer_attention.study.store import Store
from fer_attention.study.worker import Outcome, Workplace, serve
from fer_attention.training import Epoch


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(runner, "_Pool", InlinePool)


def carry_out(study, folder, **options):
    return run_study(study, folder, device="cpu", **options)


def test_a_process_of_its_own_comes_to_the_same_numbers(tmp_path, monkeypatch):
    study = tiny_study(replications__seeds=1)
    carry_out(study, tmp_path / "here")
    monkeypatch.undo()
    monkeypatch.setattr(runner, "cores", lambda: 1)
    seen = []
    found = carry_out(study, tmp_path / "there", workers=1, on_progress=seen.append)
    assert (found.total, found.done, found.failed, found.running) == (2, 2, (), ())
    assert [one.done for one in seen] == [0, 0, 1, 1, 1, 2]  # each run is begun, ends an epoch, and is done
    assert [run.id for run in Store(tmp_path / "there").manifest().runs] == [run.id for run in runs_of(study)]
    assert numbers_of(tmp_path / "there") == numbers_of(tmp_path / "here")


def test_a_study_that_is_done_is_not_done_again_and_one_that_grew_does_what_is_new(tmp_path, monkeypatch):
    first = carry_out(tiny_study(replications__seeds=1), tmp_path)
    assert (first.total, first.done, first.failed, first.elsewhere) == (2, 2, (), ())
    before = contents(tmp_path / "runs")
    seen = []
    again = carry_out(tiny_study(replications__seeds=1), tmp_path, on_progress=seen.append)
    assert (again.done, again.best, seen) == (2, first.best, [])
    grown = carry_out(tiny_study(), tmp_path, on_progress=seen.append)
    assert (grown.total, grown.done) == (4, 4)
    assert [one.done for one in seen if not one.running] == [3, 4]
    after = contents(tmp_path / "runs")
    assert {path: after[path] for path in before} == before


WILD = {"default": {}, "wild": {"lr": 1e30, "schedule": "constant"}}


def test_a_run_that_diverges_is_noted_the_others_go_on_and_it_is_tried_again_on_request_only(tmp_path):
    study = tiny_study(factors__setting=WILD, factors__attention="none", replications__seeds=1)
    found = carry_out(study, tmp_path)
    assert (found.total, found.done) == (2, 1)
    ((title, reason),) = found.failed
    assert "wild" in title
    assert reason.startswith("TrainingError: The loss ")
    (failed,) = read_records(tmp_path).failed
    file = tmp_path / "runs" / failed / FAILURE
    assert json.loads(file.read_text())["reason"] == reason
    assert "Traceback" in json.loads(file.read_text())["details"]
    before = contents(tmp_path / "runs")
    assert carry_out(study, tmp_path).failed == ((title, reason),)
    assert contents(tmp_path / "runs") == before
    assert carry_out(study, tmp_path, retry_failed=True).failed == ((title, reason),)
    after = contents(tmp_path / "runs")
    assert [path for path in after if after[path] != before.get(path) and path.name == FAILURE] == [file]


def test_a_made_up_error_costs_its_run_and_a_second_try_may_succeed(tmp_path, monkeypatch):
    bad, real = runs_of(tiny_study())[1].id, worker.execute

    def execute(run, *arguments, **options):
        if run.id == bad:
            raise DataError("the images are gone")
        return real(run, *arguments, **options)

    monkeypatch.setattr(worker, "execute", execute)
    found = carry_out(tiny_study(), tmp_path)
    assert (found.done, [reason for _, reason in found.failed]) == (3, ["DataError: the images are gone"])
    assert read_records(tmp_path).failed == {bad: "DataError: the images are gone"}
    monkeypatch.setattr(worker, "execute", real)
    again = carry_out(tiny_study(), tmp_path, retry_failed=True)
    assert (again.done, again.failed) == (4, ())
    assert not (tmp_path / "runs" / bad / FAILURE).exists()


@pytest.mark.parametrize("name", [RECORD, PREDICTIONS])
def test_what_is_damaged_is_set_aside_said_and_done_again(tmp_path, name):
    study = tiny_study(replications__seeds=1)
    carry_out(study, tmp_path)
    whole = numbers_of(tmp_path)
    run = runs_of(study)[0]
    file = tmp_path / "runs" / run.id / name
    file.write_bytes(file.read_bytes()[:-20])
    found = carry_out(study, tmp_path)
    assert (found.total, found.done) == (2, 2)
    (note,) = found.notes
    assert note.startswith(f"{run.title}: {name} is ")
    assert "It is run again." in note
    assert (tmp_path / "set_aside" / f"{run.id}.1" / name).is_file()
    assert numbers_of(tmp_path) == whole


def test_runs_on_other_images_are_not_counted_as_done(tmp_path, monkeypatch):
    study = tiny_study(replications__seeds=1)
    carry_out(study, tmp_path)
    before = contents(tmp_path / "runs")
    other = datasets.synthetic_faces(images=70, seed=9)
    monkeypatch.setattr(datasets, "synthetic_faces", lambda images, size: other)
    with pytest.raises(StudyError, match=r"other images of bars .* such as resnetv2_18_elu, bars, seed 0"):
        carry_out(study, tmp_path)
    assert contents(tmp_path / "runs") == before


def test_a_run_that_another_runner_holds_is_left_to_it(tmp_path):
    study = tiny_study(replications__seeds=1)
    held, free = runs_of(study)
    (tmp_path / "locks").mkdir()
    with Store(tmp_path).claim(held.id):
        found = carry_out(study, tmp_path)
    assert (found.done, found.elsewhere, found.failed) == (1, (held.title,), ())
    assert list(numbers_of(tmp_path)) == [free.id]


class Stop(KeyboardInterrupt):
    pass


def test_a_stopped_study_goes_on_at_its_checkpoint_to_the_same_numbers(tmp_path):
    study = tiny_study(changes__epochs=3, factors__attention="none", replications__seeds=1)

    def stop(progress):
        if any(one.epoch == 2 for one in progress.running):
            raise Stop

    with pytest.raises(Stop):
        carry_out(study, tmp_path / "parts", on_progress=stop)
    assert list((tmp_path / "parts").glob("runs/*/training/checkpoint.pt"))
    assert not list((tmp_path / "parts").glob("runs/*/failure.json"))
    epochs = []
    carry_out(study, tmp_path / "parts", on_progress=lambda one: epochs.extend(one.running))
    assert [one.epoch for one in epochs if one.epoch] == [3]
    carry_out(study, tmp_path / "whole")
    assert numbers_of(tmp_path / "parts") == numbers_of(tmp_path / "whole")
    assert not list((tmp_path / "parts").glob("runs/*/training"))


def test_a_worker_whose_parent_is_gone_saves_and_notes_no_failure(tmp_path):
    study = tiny_study(changes__epochs=3)
    run = runs_of(study)[0]
    Store(tmp_path).begin(study, [run])
    ours, theirs = Pipe()
    ours.send(run)
    ours.close()
    threads = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit, match="143"):
            serve(theirs, Workplace(tmp_path, study, {}, "cpu", 1))
    finally:
        torch.set_num_threads(threads)
    assert Store(tmp_path).state(run.id) == "open"
    assert (Store(tmp_path).run_folder(run.id) / "training" / "checkpoint.pt").is_file()


@pytest.mark.parametrize(
    ("code", "reason"),
    [(-9, "ended by SIGKILL: perhaps the memory did not suffice"), (-11, "SIGSEGV"), (3, "exit code 3")],
)
def test_a_dead_process_fails_its_run_unless_that_was_done(tmp_path, monkeypatch, code, reason):
    monkeypatch.undo()
    study = tiny_study(factors__attention="none")
    finished, lost = runs_of(study)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "_Pool", InlinePool)
        carry_out(tiny_study(factors__attention="none", replications__seeds=1), tmp_path)
    tracker = Tracker(runs_of(study), dict.fromkeys((finished.id, lost.id), 1.0), lambda progress: None)
    pool = runner._Pool([], tracker, Store(tmp_path))
    for run in (finished, lost):
        dead = SimpleNamespace(run=run, process=SimpleNamespace(join=lambda: None, exitcode=code))
        pool._workers = [dead]
        pool._bury(dead, deque())
    found = tracker.progress()
    assert found.done == 1
    ((title, said),) = found.failed
    assert title == lost.title
    assert reason in said
    assert read_records(tmp_path).failed == {lost.id: said}


def epoch_of(number, accuracy):
    return Epoch(number, *[0.1] * 4, accuracy, *[0.1] * 5)


def test_progress_counts_and_estimates_by_the_work_that_is_done(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    runs = runs_of(tiny_study(changes__epochs=2))
    old, one, two, three = runs
    seen = []
    tracker = Tracker(runs, {old.id: 9, one.id: 1, two.id: 3, three.id: 6}, seen.append)
    tracker.done_before(old, 0.5)
    assert tracker.progress().seconds_left is None
    tracker.started(one)
    tracker.started(two)
    assert [(run.title, run.epoch, run.epochs, run.accuracy) for run in seen[-1].running] == [
        (one.title, 0, 2, None), (two.title, 0, 2, None)
    ]  # fmt: skip
    tracker.epoch(one, epoch_of(1, 0.25))
    assert (seen[-1].running[0].epoch, seen[-1].running[0].accuracy) == (1, 0.25)
    now[0] += 10
    tracker.ended(one, Outcome(one.id, "done", accuracy=0.75))
    found = seen[-1]
    assert (found.total, found.done, found.seconds) == (4, 2, 10)
    assert found.seconds_left == pytest.approx((3 + 6) / (1 / 10))
    assert found.best == (one.title, 0.75)
    now[0] += 10
    tracker.ended(two, Outcome(two.id, "failed", note="why"))
    assert seen[-1].failed == ((two.title, "why"),)
    assert seen[-1].seconds_left == pytest.approx(6 / (1 / 20))
    tracker.ended(three, Outcome(three.id, "taken"))
    assert seen[-1].elsewhere == (three.title,)
    assert (seen[-1].running, seen[-1].seconds_left, seen[-1].best) == ((), 0, (one.title, 0.75))
    assert len(seen) == 6


def test_data_sets_are_read_where_the_call_says(tmp_path):
    with pytest.raises(StudyError, match="Where is the data set faces"):
        DataSets(tiny_study(data={"faces": {"protocol": "official"}}))
    named = tiny_study(data={"faces": {"protocol": "official", "path": str(tmp_path / "file's")}})
    with pytest.raises(StudyError, match="file's does not exist"):
        DataSets(named)["faces"]
    with pytest.raises(StudyError, match="call's does not exist"):
        DataSets(named, {"faces": tmp_path / "call's"})["faces"]
