"""Running a study: finished runs are kept, failures affect only their own run."""

import json
import os
import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from fer_attention.data import DataError
from fer_attention.study import (
    StudyError,
    datasets,
    engines,
    execute,
    read_records,
    run_study,
    runner,
)
from fer_attention.study.records import FAILURE, PREDICTIONS, RECORD
from fer_attention.study.store import Store
from fer_attention.training import TrainingCallbacks
from tests.support.datasets import noise, save
from tests.support.tiny_studies import InlineEngine, contents, numbers_of, runs_of, tiny_study


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(runner, "LocalEngine", InlineEngine)


def write_faces(folder):
    """Eight pictures of two emotions for each part."""
    generator = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for emotion in ("happy", "sad"):
            for number in range(8):
                save(folder / split / emotion / f"{number}.png", noise(generator.integers(1e6), (16, 16)))


def folder_study(**options):
    data = {"data_format": "folder", "options": {"size": [16, 16], **options}, "protocol": "official"}
    return tiny_study(data={"bars": data}, replications__seeds=1)


def run_here(study, folder, **options):
    return run_study(study, folder, device="cpu", **options)


@pytest.mark.slow
def test_worker_processes_give_the_same_results_and_report_progress(tmp_path, monkeypatch):
    study = tiny_study(replications__seeds=1, changes__epochs=2)
    run_here(study, tmp_path / "here")
    monkeypatch.undo()
    monkeypatch.setattr(runner, "cores", lambda: 1)
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    seen = []
    found = run_here(study, tmp_path / "there", workers=1, on_progress=seen.append)
    assert (found.total, found.done, found.failed, found.running) == (2, 2, (), ())
    assert [run.id for run in Store(tmp_path / "there").manifest().runs] == [run.id for run in runs_of(study)]
    assert numbers_of(tmp_path / "there") == numbers_of(tmp_path / "here")
    counts = [one.done for one in seen]
    assert counts == sorted(counts)
    assert {run.title for one in seen for run in one.running} == {run.title for run in runs_of(study)}
    assert {(run.epoch, run.epochs) for one in seen for run in one.running} >= {(0, 2), (1, 2)}


def test_finished_runs_are_kept_and_new_ones_are_added(tmp_path):
    first = run_here(tiny_study(replications__seeds=1), tmp_path)
    assert (first.total, first.done, first.failed, first.elsewhere) == (2, 2, (), ())
    before = contents(tmp_path / "runs")
    seen = []
    again = run_here(tiny_study(replications__seeds=1), tmp_path, on_progress=seen.append)
    assert (again.done, seen) == (2, [])
    grown = run_here(tiny_study(), tmp_path, on_progress=seen.append)
    assert (grown.total, grown.done) == (4, 4)
    assert [one.done for one in seen] == [3, 4]
    after = contents(tmp_path / "runs")
    assert {path: after[path] for path in before} == before


WILD = {"default": {}, "wild": {"lr": 1e30, "schedule": "constant"}}


def test_a_diverged_run_fails_alone_and_is_retried_only_on_request(tmp_path):
    study = tiny_study(factors__setting=WILD, factors__attention="none", replications__seeds=1)
    found = run_here(study, tmp_path)
    assert (found.total, found.done) == (2, 1)
    ((title, reason),) = found.failed
    assert "wild" in title
    assert reason.startswith("TrainingError: The loss ")
    (failed,) = read_records(tmp_path).failed
    file = tmp_path / "runs" / failed / FAILURE
    assert json.loads(file.read_text())["reason"] == reason
    assert "Traceback" in json.loads(file.read_text())["details"]
    before = contents(tmp_path / "runs")
    assert run_here(study, tmp_path).failed == ((title, reason),)
    assert contents(tmp_path / "runs") == before
    assert run_here(study, tmp_path, retry_failed=True).failed == ((title, reason),)
    after = contents(tmp_path / "runs")
    assert [path for path in after if after[path] != before.get(path) and path.name == FAILURE] == [file]


def test_an_error_fails_its_run_alone_and_a_retry_may_succeed(tmp_path, monkeypatch):
    bad, real = runs_of(tiny_study())[1].id, engines.execute

    def execute(run, *arguments, **options):
        if run.id == bad:
            raise DataError("the images are gone")
        return real(run, *arguments, **options)

    monkeypatch.setattr(engines, "execute", execute)
    found = run_here(tiny_study(), tmp_path)
    assert (found.done, [reason for _, reason in found.failed]) == (3, ["DataError: the images are gone"])
    assert read_records(tmp_path).failed == {bad: "DataError: the images are gone"}
    monkeypatch.setattr(engines, "execute", real)
    again = run_here(tiny_study(), tmp_path, retry_failed=True)
    assert (again.done, again.failed) == (4, ())
    assert not (tmp_path / "runs" / bad / FAILURE).exists()


@pytest.mark.parametrize("name", [RECORD, PREDICTIONS])
def test_damaged_runs_are_set_aside_and_repeated(tmp_path, name):
    study = tiny_study(replications__seeds=1)
    run_here(study, tmp_path)
    whole = numbers_of(tmp_path)
    run = runs_of(study)[0]
    file = tmp_path / "runs" / run.id / name
    file.write_bytes(file.read_bytes()[:-20])
    found = run_here(study, tmp_path)
    assert (found.total, found.done) == (2, 2)
    (note,) = found.notes
    assert note.startswith(f"{run.title}: {name} ")
    assert "The run is repeated." in note
    assert (tmp_path / "set_aside" / f"{run.id}.1" / name).is_file()
    assert numbers_of(tmp_path) == whole


def test_runs_on_other_images_do_not_count_as_done(tmp_path, monkeypatch):
    study = tiny_study(replications__seeds=1)
    run_here(study, tmp_path)
    before = contents(tmp_path / "runs")
    other = datasets.synthetic_faces(images=70, seed=9)
    monkeypatch.setattr(datasets, "synthetic_faces", lambda images, size: other)
    with pytest.raises(StudyError, match=r"other images of bars, such as resnetv2_18_elu, bars, seed 0"):
        run_here(study, tmp_path)
    assert contents(tmp_path / "runs") == before


def test_runs_of_another_process_are_left_to_it(tmp_path):
    study = tiny_study(replications__seeds=1)
    held, free = runs_of(study)
    (tmp_path / "locks").mkdir()
    with Store(tmp_path).claim(held.id):
        found = run_here(study, tmp_path)
    assert (found.done, found.elsewhere, found.failed) == (1, (held.title,), ())
    assert list(numbers_of(tmp_path)) == [free.id]


def test_an_interrupted_study_resumes_with_the_same_results(tmp_path, monkeypatch):
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
        run_here(study, tmp_path / "parts")
    assert list((tmp_path / "parts").glob("runs/*/training/checkpoint.pt"))
    assert not list((tmp_path / "parts").glob("runs/*/failure.json"))
    run_here(study, tmp_path / "parts")
    assert epochs == [1, 2, 3]
    run_here(study, tmp_path / "whole")
    assert numbers_of(tmp_path / "parts") == numbers_of(tmp_path / "whole")
    assert not list((tmp_path / "parts").glob("runs/*/training"))


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_run_is_restarted_once_after_the_death_of_its_process(tmp_path, monkeypatch, deaths):
    """The engine below lets the process of the first run die `deaths` times."""
    study = tiny_study(replications__seeds=1)
    first, second = runs_of(study)
    begun = []

    class DyingEngine(InlineEngine):
        def submit(self, run):
            begun.append(run.id)
            if run.id == first.id and begun.count(first.id) <= deaths:
                future = Future()
                future.set_exception(BrokenProcessPool("struck by lightning"))
                return future
            return super().submit(run)

    monkeypatch.setattr(runner, "LocalEngine", DyingEngine)
    found = run_here(study, tmp_path)
    assert begun == [first.id, first.id, second.id]
    assert found.notes == (f"{first.title}: struck by lightning. The run resumes from its checkpoint.",)
    if deaths == 1:
        assert (found.done, found.failed) == (2, ())
    else:
        assert (found.done, found.failed) == (1, ((first.title, "struck by lightning"),))
        assert read_records(tmp_path).failed == {first.id: "struck by lightning"}


def test_a_finished_study_says_so_without_reading_its_data(tmp_path, monkeypatch):
    write_faces(tmp_path / "faces")
    study, paths = folder_study(), {"bars": tmp_path / "faces"}
    assert run_here(study, tmp_path / "study", paths=paths).done == 2
    before = contents(tmp_path / "study")
    monkeypatch.setattr(datasets, "load_data", lambda *_, **__: pytest.fail("the data were read"))
    again = run_here(study, tmp_path / "study", paths=paths)
    assert (again.total, again.done, again.failed) == (2, 2, ())
    assert contents(tmp_path / "study") == before
    shutil.move(tmp_path / "faces", tmp_path / "moved")
    assert run_here(study, tmp_path / "study", paths={"bars": tmp_path / "moved"}).done == 2


@pytest.mark.parametrize("stream", [False, True])
def test_replaced_images_of_a_finished_study_are_noticed(tmp_path, stream):
    write_faces(tmp_path / "faces")
    study, paths = folder_study(stream=stream), {"bars": tmp_path / "faces"}
    run_here(study, tmp_path / "study", paths=paths)
    one, other = (tmp_path / "faces" / "train" / emotion / "0.png" for emotion in ("happy", "sad"))
    times = one.stat()
    shutil.copyfile(other, one)
    os.utime(one, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(StudyError, match="contains runs on other images of bars"):
        run_here(study, tmp_path / "study", paths=paths)


def test_a_damaged_record_of_a_finished_study_is_repeated(tmp_path):
    write_faces(tmp_path / "faces")
    study, paths = folder_study(), {"bars": tmp_path / "faces"}
    run_here(study, tmp_path / "study", paths=paths)
    next((tmp_path / "study" / "runs").glob("*/record.json")).write_text("{")
    found = run_here(study, tmp_path / "study", paths=paths)
    assert (found.done, len(found.notes)) == (2, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"changes__freeze": ["stemm"]}, "freeze: no submodule 'stemm'"),
        ({"changes__precision": "float16"}, "float16 trains on GPUs only"),
        ({"changes__backbone_weights": "absent.pth"}, "absent.pth is not a file"),
        ({"changes__structure__num_classes": 3}, "num_classes is the number of emotions in the data"),
        ({"factors__attention": "cbam"}, "resnetv2_18_cbam_elu cannot be built"),
        ({"data__bars__protocol_options": {"foldz": 3}}, "bars: Unknown option of the protocol 'official'"),
        ({"data__bars__folds": [1]}, "bars: official has fold 0 only, got fold 1"),
    ],
)
def test_settings_are_checked_before_the_data_are_read(tmp_path, monkeypatch, fields, message):
    monkeypatch.setattr(datasets, "_read", lambda *_: pytest.fail("the data were read"))
    with pytest.raises(StudyError, match=message):
        run_here(tiny_study(**fields), tmp_path / "study")
    assert not (tmp_path / "study").exists()
