"""Carrying a study out: what is done stays done, what fails costs itself alone."""

import json
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import pytest

from fer_attention.data import DataError
from fer_attention.study import (
    StudyError,
    datasets,
    engines,
    execute,
    progress,
    read_records,
    run_study,
    runner,
)
from fer_attention.study.datasets import DataSets
from fer_attention.study.progress import Running, Tracker
from fer_attention.study.records import FAILURE, PREDICTIONS, RECORD
from fer_attention.study.store import Store
from fer_attention.training import TrainingCallbacks
from fer_attention.training.history import Epoch, to_csv
from tests.support.tiny_studies import InlineEngine, contents, numbers_of, runs_of, tiny_study


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(runner, "LocalEngine", InlineEngine)


def carry_out(study, folder, **options):
    return run_study(study, folder, device="cpu", **options)


def test_processes_come_to_the_same_numbers_and_tell_their_progress(tmp_path, monkeypatch):
    study = tiny_study(replications__seeds=1, changes__epochs=2)
    carry_out(study, tmp_path / "here")
    monkeypatch.undo()
    monkeypatch.setattr(runner, "cores", lambda: 1)
    monkeypatch.setattr(runner, "SECONDS", 0.01)
    seen = []
    found = carry_out(study, tmp_path / "there", workers=1, on_progress=seen.append)
    assert (found.total, found.done, found.failed, found.running) == (2, 2, (), ())
    assert [run.id for run in Store(tmp_path / "there").manifest().runs] == [run.id for run in runs_of(study)]
    assert numbers_of(tmp_path / "there") == numbers_of(tmp_path / "here")
    counts = [one.done for one in seen]
    assert counts == sorted(counts)
    assert {run.title for one in seen for run in one.running} == {run.title for run in runs_of(study)}
    assert {(run.epoch, run.epochs) for one in seen for run in one.running} >= {(0, 2), (1, 2)}


def test_a_study_that_is_done_is_not_done_again_and_one_that_grew_does_what_is_new(tmp_path):
    first = carry_out(tiny_study(replications__seeds=1), tmp_path)
    assert (first.total, first.done, first.failed, first.elsewhere) == (2, 2, (), ())
    before = contents(tmp_path / "runs")
    seen = []
    again = carry_out(tiny_study(replications__seeds=1), tmp_path, on_progress=seen.append)
    assert (again.done, seen) == (2, [])
    grown = carry_out(tiny_study(), tmp_path, on_progress=seen.append)
    assert (grown.total, grown.done) == (4, 4)
    assert [one.done for one in seen] == [3, 4]
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
    bad, real = runs_of(tiny_study())[1].id, engines.execute

    def execute(run, *arguments, **options):
        if run.id == bad:
            raise DataError("the images are gone")
        return real(run, *arguments, **options)

    monkeypatch.setattr(engines, "execute", execute)
    found = carry_out(tiny_study(), tmp_path)
    assert (found.done, [reason for _, reason in found.failed]) == (3, ["DataError: the images are gone"])
    assert read_records(tmp_path).failed == {bad: "DataError: the images are gone"}
    monkeypatch.setattr(engines, "execute", real)
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


def test_a_stopped_study_goes_on_at_its_checkpoint_to_the_same_numbers(tmp_path, monkeypatch):
    study = tiny_study(changes__epochs=3, factors__attention="none", replications__seeds=1)
    real_train, epochs = execute.train, []

    def train(*arguments, **options):
        return real_train(*arguments, **{**options, "callbacks": TrainingCallbacks(on_epoch=on_epoch)})

    def on_epoch(epoch):
        epochs.append(epoch.epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(execute, "train", train)
    with pytest.raises(KeyboardInterrupt):
        carry_out(study, tmp_path / "parts")
    assert list((tmp_path / "parts").glob("runs/*/training/checkpoint.pt"))
    assert not list((tmp_path / "parts").glob("runs/*/failure.json"))
    carry_out(study, tmp_path / "parts")
    assert epochs == [1, 2, 3]
    carry_out(study, tmp_path / "whole")
    assert numbers_of(tmp_path / "parts") == numbers_of(tmp_path / "whole")
    assert not list((tmp_path / "parts").glob("runs/*/training"))


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_run_whose_process_dies_is_begun_again_once(tmp_path, monkeypatch, deaths):
    """What dies in this engine is the process of the first run, so many times."""
    study = tiny_study(replications__seeds=1)
    first, second = runs_of(study)
    begun = []

    class Mortal(InlineEngine):
        def submit(self, run):
            begun.append(run.id)
            if run.id == first.id and begun.count(first.id) <= deaths:
                future = Future()
                future.set_exception(BrokenProcessPool("struck by lightning"))
                return future
            return super().submit(run)

    monkeypatch.setattr(runner, "LocalEngine", Mortal)
    found = carry_out(study, tmp_path)
    assert begun == [first.id, first.id, second.id]
    assert found.notes == (f"{first.title}: struck by lightning. The run resumes from its checkpoint.",)
    if deaths == 1:
        assert (found.done, found.failed) == (2, ())
    else:
        assert (found.done, found.failed) == (1, ((first.title, "struck by lightning"),))
        assert read_records(tmp_path).failed == {first.id: "struck by lightning"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [(-9, "ended by SIGKILL: perhaps out of memory"), (-11, "ended by SIGSEGV"), (3, "exit code 3")],
)
def test_the_cause_of_a_processes_death_is_its_signal_or_exit_code(code, reason):
    dead = engines._Worker(None)
    dead.process = SimpleNamespace(exitcode=code)
    dead.pool = SimpleNamespace(shutdown=lambda: None)
    dead.future = Future()
    dead.future.set_exception(BrokenProcessPool())
    assert reason in dead.cause()


def write_history(folder, *accuracies):
    (folder / "training").mkdir(parents=True, exist_ok=True)
    epochs = [Epoch(n, *[0.1] * 4, accuracy, *[0.1] * 5) for n, accuracy in enumerate(accuracies, 1)]
    (folder / "training" / "history.csv").write_bytes(to_csv(epochs))


def test_progress_counts_and_estimates_by_the_epochs_of_this_call(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    runs = runs_of(tiny_study(changes__epochs=4))
    old, one, two, three = runs
    store = Store(tmp_path)
    store.run_folder(old.id).mkdir(parents=True)
    (store.run_folder(old.id) / RECORD).touch()
    write_history(store.run_folder(one.id), 0.2)
    tracker = Tracker(store, runs, {old.id: 9, one.id: 4, two.id: 4, three.id: 8})
    found = tracker.progress([one])
    assert (found.total, found.done, found.seconds_left) == (4, 1, None)
    assert found.running == (Running(one.title, 1, 4, 0.2),)  # of an earlier call: nothing to estimate by
    now[0] += 10
    write_history(store.run_folder(one.id), 0.2, 0.3, 0.25)
    (store.run_folder(two.id) / "training").mkdir(parents=True)
    found = tracker.progress([one, two, three])
    assert found.running == (Running(one.title, 3, 4, 0.25), Running(two.title, 0, 4, None))
    assert found.seconds_left == pytest.approx((1 + 4 + 8) / (2 / 10))
    now[0] += 10
    (store.run_folder(one.id) / RECORD).touch()
    store.fail(two, "why")
    tracker.elsewhere.append(three)
    found = tracker.progress()
    assert (found.done, found.failed, found.elsewhere) == (2, ((two.title, "why"),), (three.title,))
    assert found.seconds_left == pytest.approx(8 / (3 / 20))
    (store.run_folder(three.id)).mkdir()
    (store.run_folder(three.id) / RECORD).touch()
    found = tracker.progress()
    assert (found.done, found.elsewhere, found.seconds_left) == (3, (), 0)


def test_data_sets_are_read_where_the_call_says(tmp_path):
    with pytest.raises(StudyError, match="Where is the data set faces"):
        DataSets(tiny_study(data={"faces": {"protocol": "official"}}))
    named = tiny_study(data={"faces": {"protocol": "official", "path": str(tmp_path / "file's")}})
    with pytest.raises(StudyError, match="file's does not exist"):
        DataSets(named)["faces"]
    with pytest.raises(StudyError, match="call's does not exist"):
        DataSets(named, {"faces": tmp_path / "call's"})["faces"]
