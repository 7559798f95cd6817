"""Execution of one run: a record that agrees with its predictions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_attention.data import DataError
from fer_attention.evaluation import classification_metrics, predict_crops
from fer_attention.models import load_weights
from fer_attention.study import execute
from fer_attention.study.datasets import synthetic_faces
from fer_attention.study.records import PREDICTIONS, RECORD, WEIGHTS, Predictions, read_record
from fer_attention.study.store import Store
from tests.support.tiny_studies import runs_of, tiny_study


def execute_first(folder, data, **changes):
    """Execute the first run of a tiny study in its folder."""
    run = runs_of(tiny_study(changes__epochs=2, **changes))[0]
    run_folder = Store(folder).run_folder(run.id)
    return execute.execute(run, data, run_folder, device="cpu"), run_folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """With several threads, sums may be split differently from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data():
    return synthetic_faces(images=70, noise=30)


@pytest.fixture(scope="module")
def done(tmp_path_factory, data):
    """Two finished runs: (folder of the study, record with weights, its folder)."""
    folder = tmp_path_factory.mktemp("execute") / "study"
    execute_first(folder, data, replications__seeds=[4])
    record, run_folder = execute_first(folder, data, keep_weights=True)
    return folder, record, run_folder


def test_the_record_agrees_with_the_predictions(done, data):
    folder, record, run_folder = done
    found = Predictions.from_bytes((run_folder / PREDICTIONS).read_bytes())
    test = data.split("test")
    assert list(found.names) == list(test.names)
    assert (found.labels == test.labels).all()
    correct = found.predicted == test.labels
    assert record.test.accuracy == correct.sum() / len(test)
    assert record.test.n == len(test) == record.data.test_images == 14
    recalls = [correct[test.labels == label].mean() for label in np.unique(test.labels)]
    assert record.test.balanced_accuracy == pytest.approx(np.mean(recalls))
    likelihoods = found.probabilities[np.arange(14), test.labels]
    assert record.test.negative_log_likelihood == pytest.approx(-np.log(likelihoods).mean(), rel=2e-3)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(14), abs=2e-3)
    assert found.groups is None
    assert not found.copies.any()
    assert read_record(run_folder) == record


def test_the_record_has_configuration_scores_and_costs(done):
    record = done[1]
    assert (record.seed, record.fold, record.model) == (0, 0, "resnetv2_18_elu")
    assert record.factors["attention"] == "none"
    assert record.config["epochs"] == len(record.history) == 2
    assert (record.data.train_images, record.data.validation_images) == (42, 14)
    best = max(record.history, key=lambda epoch: epoch["validation_accuracy"])
    assert record.selected_epoch == best["epoch"]
    assert record.validation.accuracy == best["validation_accuracy"]
    cost = record.cost
    assert min(cost.parameters, cost.macs, cost.train_seconds, cost.images_per_second, cost.latency_ms) > 0
    assert cost.train_seconds == pytest.approx(sum(epoch["seconds"] for epoch in record.history))
    assert {layer.kind for layer in record.activations} == {"ELU"}
    assert all(layer.variance > 0 and 0 < layer.fraction_negative < 1 for layer in record.activations)
    assert record.environment


def test_kept_weights_reproduce_the_recorded_accuracy(done, data):
    folder, record, run_folder = done
    model = load_weights(run_folder / WEIGHTS, device="cpu")
    assert model.spec.name == record.model
    test = data.split("test")
    answers = predict_crops(model, test).argmax(1)
    assert (answers == Predictions.from_bytes((run_folder / PREDICTIONS).read_bytes()).predicted).all()
    assert (answers == test.labels).mean() == record.test.accuracy
    assert {path.name for path in run_folder.iterdir()} == {RECORD, PREDICTIONS, WEIGHTS}
    others = [path for path in (folder / "runs").iterdir() if path != run_folder]
    assert [{path.name for path in other.iterdir()} for other in others] == [{RECORD, PREDICTIONS}]


def test_repeating_a_run_gives_the_same_predictions_and_scores(done, data, tmp_path):
    record, run_folder = execute_first(tmp_path, data, keep_weights=True)
    assert record.predictions_sha256 == done[1].predictions_sha256
    assert record.test == done[1].test
    assert record.activations == done[1].activations
    assert (run_folder / PREDICTIONS).read_bytes() == (done[2] / PREDICTIONS).read_bytes()


def test_test_images_are_evaluated_once_after_training(data, tmp_path, monkeypatch):
    events = []
    real_train, real_evaluate = execute.train, execute.evaluate

    def train(config, crops, output, **options):
        result = real_train(config, crops, output, **options)
        events.append("trained")
        return result

    def evaluate(model, crops, *, split, **options):
        events.append(split)
        return real_evaluate(model, crops, split=split, **options)

    monkeypatch.setattr(execute, "train", train)
    monkeypatch.setattr(execute, "evaluate", evaluate)
    execute_first(tmp_path, data)
    assert events == ["trained", "validation", "test"]


def test_test_images_affect_nothing_but_the_test_scores(done, data, tmp_path):
    images = data.images.copy()
    images[data.splits == "test"] = 255 - images[data.splits == "test"]
    record, _ = execute_first(tmp_path, replace(data, images=images))
    times = {"seconds", "images_per_second"}
    for epoch, other in zip(record.history, done[1].history, strict=True):
        assert {k: v for k, v in epoch.items() if k not in times} == {
            k: v for k, v in other.items() if k not in times
        }
    assert record.validation == done[1].validation
    assert record.predictions_sha256 != done[1].predictions_sha256


def test_copies_of_training_images_are_counted_and_scored_separately(data, tmp_path):
    images = data.images.copy()
    test, train = (np.flatnonzero(data.splits == name) for name in ("test", "train"))
    images[test[:5]] = images[train[:5]]
    record, run_folder = execute_first(tmp_path, replace(data, images=images))
    found = Predictions.from_bytes((run_folder / PREDICTIONS).read_bytes())
    assert found.copies.tolist() == [True] * 5 + [False] * 9
    assert (record.data.copies, record.test.n, record.test_new.n) == (5, 14, 9)
    assert record.test_new.accuracy == (found.predicted == found.labels)[5:].mean()


def test_predictions_store_subjects_and_depend_on_augmentation(tmp_path):
    people = {"images": 70, "size": 16, "subjects": 5}
    fields = {"data__bars__options": people, "data__bars__protocol": "loso", "data__bars__folds": [2]}
    contents = {}
    for views in ("none", "flip"):
        record, run_folder = execute_first(tmp_path, synthetic_faces(**people), tta=views, **fields)
        contents[views] = Predictions.from_bytes((run_folder / PREDICTIONS).read_bytes())
        assert set(contents[views].groups) == {"P02"}
        assert (record.tta, record.data.fold, record.fold) == (views, "P02", 2)
    assert (contents["none"].probabilities != contents["flip"].probabilities).any()


def test_recorded_metrics_match_classification_metrics(done, data):
    record, run_folder = done[1:]
    model = load_weights(run_folder / WEIGHTS, device="cpu")
    test = data.split("test")
    found = classification_metrics(predict_crops(model, test), test.labels, test.label_names)
    assert record.test.macro_f1 == pytest.approx(found.macro_f1)
    assert record.test.calibration_error == pytest.approx(found.reliability.ece)
    assert (record.test.low, record.test.high) == (found.accuracy.low, found.accuracy.high)


def test_a_protocol_that_the_data_does_not_support_is_an_error(data, tmp_path):
    options = {"images": 70, "size": 16, "subjects": 5}
    with pytest.raises(DataError, match="loso needs subjects"):
        execute_first(tmp_path, data, data__bars__options=options, data__bars__protocol="loso")
