"""Fitting of temperature and threshold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from fer_attention.calibration import Calibration, mass_before
from fer_attention.classifiers import TorchClassifier
from fer_attention.data import DataError, FaceDataset
from fer_attention.emotions import FER2013, FERPLUS
from fer_attention.evaluation import calibrate, evaluate, fit_temperature, fit_threshold
from fer_attention.evaluation.doubt import PLURALITY
from fer_attention.models import create_model
from fer_attention.preprocessing import Preprocessing


class Reader:
    """A classifier whose logits are written in the first pixels of each image, doubled if it is too sure."""

    preprocessing = Preprocessing()

    def __init__(self, labels=FER2013, calibration=None, sureness=1.0):
        self.labels, self.sureness = labels, sureness
        self.calibration = calibration or Calibration()

    def probabilities(self, crops, *, batch_size=64):
        logits = crops[:, 0, 0, : len(self.labels)] / 32.0 * self.sureness
        return softmax(logits / self.calibration.temperature, axis=1)


def readable_faces(n, *, seed=0, votes=False, split="validation", names=FER2013):
    """Images with logits in their pixels; labels, or ten votes each, are drawn from these logits' softmax."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, 48, 48), dtype=np.uint8)
    images[:, 0, : len(names)] = np.clip(generator.normal(60, 60, (n, len(names))), 0, 255)
    probabilities = softmax(images[:, 0, : len(names)] / 32.0, axis=1)
    labels = np.array([generator.choice(len(names), p=row) for row in probabilities])
    counts = None
    if votes:
        counts = np.zeros((n, 10), dtype=np.int64)
        counts[:, : len(names)] = [generator.multinomial(10, row) for row in probabilities]
    rows = np.arange(n).astype(str)
    return FaceDataset(images, labels, rows, np.repeat(split, n), tuple(names), votes=counts)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5), st.booleans())
def test_the_temperature_minimises_the_cross_entropy(seed, scale, soft):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(200, 5)) * 2
    truth = (
        softmax(logits, axis=1) if soft else np.eye(5)[(logits + generator.gumbel(size=(200, 5))).argmax(1)]
    )

    def cross_entropy(log_temperature):
        return -(truth * log_softmax(logits * scale / np.exp(log_temperature), axis=1)).sum(1).mean()

    best = minimize_scalar(cross_entropy, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    found = fit_temperature(logits * scale, truth)
    assert cross_entropy(math.log(found)) <= best.fun + 1e-9
    if soft:
        assert found == pytest.approx(scale)  # the softmax of the unscaled logits is the truth itself


def test_answers_that_are_always_right_get_the_coldest_temperature():
    assert fit_temperature(np.eye(3) * 2, np.eye(3)) == pytest.approx(0.05)
    assert fit_temperature(np.eye(3) * 2, np.roll(np.eye(3), 1, axis=1)) == pytest.approx(20)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 300), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_threshold_is_the_conformal_quantile(seed, n, coverage):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(6), n)
    labels = generator.integers(0, 6, n)
    scores = [sum(p for p in row if p > row[label]) for row, label in zip(probabilities, labels, strict=True)]
    rank = -(-(n + 1) * round(100 * coverage) // 100)  # rounded up, in whole numbers
    found = fit_threshold(probabilities, labels, coverage=coverage)
    assert found == pytest.approx(sorted(scores)[rank - 1])


def test_new_faces_are_covered_as_often_as_promised():
    shares = []
    for seed in range(40):
        faces = readable_faces(2000, seed=seed)
        probabilities = Reader(sureness=1.7).probabilities(faces.images[:, None])
        threshold = fit_threshold(probabilities[:1000], faces.labels[:1000])
        inside = mass_before(probabilities[1000:])[np.arange(1000), faces.labels[1000:]] <= threshold
        shares.append(inside.mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


def test_too_few_faces_for_the_coverage_are_refused():
    sure = np.tile([1.0, 0.0], (8, 1))
    with pytest.raises(DataError, match=r"0\.9 needs at least 9 images; got 8"):
        fit_threshold(sure, np.zeros(8, dtype=int))


def test_labels_calibrate_a_model_that_is_too_sure():
    found = calibrate(Reader(sureness=2.0), readable_faces(3000))
    assert found.temperature == pytest.approx(2.0, abs=0.15)
    assert (found.truth, found.split, found.n, found.coverage) == ("labels", "validation", 3000, 0.9)
    measured = evaluate(Reader(sureness=2.0, calibration=found), readable_faces(3000, seed=1, split="test"))
    [doubts] = measured.doubt.values()
    assert doubts["data's labels"].coverage == pytest.approx(0.9, abs=0.02)
    assert doubts["data's labels"].ece < 0.03


def test_a_second_fit_gives_the_same_temperature():
    faces = readable_faces(500)
    first = calibrate(Reader(sureness=3.0), faces)
    again = calibrate(Reader(sureness=3.0, calibration=first), faces)
    assert again.temperature == pytest.approx(first.temperature)
    assert again.threshold == pytest.approx(first.threshold)


def test_votes_give_probabilities_and_the_plurality_gives_candidates():
    faces = readable_faces(2000, votes=True, names=FERPLUS)
    found = calibrate(Reader(FERPLUS, sureness=2.0), faces)
    assert found.temperature == pytest.approx(2.0, abs=0.05)
    assert found.truth == "votes"
    assert found.n < 2000  # ties have no plurality
    new = readable_faces(2000, votes=True, names=FERPLUS, seed=1, split="test")
    [doubts] = evaluate(Reader(FERPLUS, calibration=found, sureness=2.0), new).doubt.values()
    assert doubts[PLURALITY].coverage == pytest.approx(0.9, abs=0.02)


def test_copies_of_training_images_are_left_out():
    images = readable_faces(60)
    splits = np.repeat(["train", "validation"], 30)
    copied = images.images.copy()
    copied[30:40] = copied[:10]
    faces = FaceDataset(copied, images.labels, images.names, splits, FER2013)
    assert calibrate(Reader(), faces).n == 20
    copied[30:] = copied[:30]
    with pytest.raises(DataError, match="all are training images"):
        calibrate(Reader(), FaceDataset(copied, images.labels, images.names, splits, FER2013))


def test_a_coverage_out_of_range_and_a_missing_split_are_refused():
    with pytest.raises(ValueError, match=r"for instance 0\.9; got 90"):
        calibrate(Reader(), readable_faces(20), coverage=90)
    with pytest.raises(DataError, match="No split"):
        calibrate(Reader(), readable_faces(20, split="test"))


def test_a_models_record_decides_its_probabilities_and_candidates():
    model = create_model("resnet18", width=0.25, stem="half")
    model.labels, model.preprocessing = FER2013, Preprocessing()
    crops = np.random.default_rng(0).integers(0, 256, (4, 1, 48, 48), dtype=np.uint8)
    plain = TorchClassifier(model).probabilities(crops)
    model.record = Calibration(temperature=4.0, threshold=0.3).to_record()
    classifier = TorchClassifier(model)
    assert classifier.calibration.threshold == 0.3
    np.testing.assert_allclose(classifier.probabilities(crops), softmax(np.log(plain) / 4, axis=1), rtol=1e-5)
    model.reset_classifier(3)
    assert not model.record
