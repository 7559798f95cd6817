"""FER2013-C."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import softmax

from fer_attention.data import DEGRADATIONS, FaceDataset, degrade_crops
from fer_attention.data.degradations import check_strength
from fer_attention.emotions import FER2013
from fer_attention.evaluation import CORRUPTIONS, evaluate, evaluate_corruptions
from fer_attention.evaluation.crowd import CLEAR
from fer_attention.evaluation.doubt import LABELS
from fer_attention.preprocessing import Preprocessing


class Bright:
    """A classifier that looks at the brightness of seven stripes."""

    labels = FER2013
    preprocessing = Preprocessing()

    def probabilities(self, crops, *, batch_size=64):
        stripes = np.array_split(crops[:, 0].astype(float), 7, axis=1)
        return softmax(np.stack([stripe.mean((1, 2)) for stripe in stripes], axis=1) / 4, axis=1)


def striped_faces(n=42, *, votes=False):
    """Images with one bright stripe, which is the label."""
    generator = np.random.default_rng(0)
    images = generator.integers(60, 120, (n, 48, 48), dtype=np.uint8)
    labels = np.arange(n) % 7
    for image, label in zip(images, labels, strict=True):
        np.array_split(image, 7, axis=0)[label][:] += 60
    counts = np.zeros((n, 10), dtype=np.int64)
    counts[:, 1] = 4  # happy, without a majority
    counts[: n // 2, 1] = 7
    splits = np.repeat("private", n)
    names = np.arange(n).astype(str)
    return FaceDataset(images, labels, names, splits, FER2013, votes=counts if votes else None)


def test_every_corruption_is_a_degradation_with_five_strengths_in_range():
    assert len(CORRUPTIONS) == 11
    for name, strengths in CORRUPTIONS.items():
        assert name in DEGRADATIONS
        assert len(set(strengths)) == 5
        check_strength(name, *strengths)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severities_move_images_further_and_further_from_the_original(name):
    rough = np.random.default_rng(0).random((20, 48, 48))
    smooth = ndimage.gaussian_filter(rough, (0, 2, 2))
    images = (smooth - smooth.min()) / np.ptp(smooth) * 255
    faces = replace(striped_faces(20), images=images.astype(np.uint8))
    distances = [
        np.abs(degrade_crops(faces, name, strength, seed=1).images - faces.images.astype(float)).mean()
        for strength in CORRUPTIONS[name]
    ]
    assert distances[0] > 0.5
    assert distances[0] < distances[-1]
    assert distances[1:] == sorted(distances[1:])  # 32 blocks do not divide 48 pixels, which moves edges


def test_every_number_is_that_of_an_evaluation_with_this_degradation():
    faces = striped_faces(votes=True)
    calls = []
    report = evaluate_corruptions(Bright(), faces, seed=3, on_progress=lambda *count: calls.append(count))
    assert calls == [(n, 56) for n in range(1, 57)]
    assert report.truths == (LABELS, CLEAR)
    assert report.clean[LABELS].value == 1
    assert report.clean[CLEAR].n == 21
    for name in ("noise", "rotation", "eyes"):
        for strength, found in zip(CORRUPTIONS[name], report.corrupted[name], strict=True):
            again = evaluate(Bright(), faces, degradations=[(name, strength)], seed=3)
            assert found[LABELS] == next(iter(again.results.values())).accuracy
            assert found[CLEAR] == next(iter(again.crowd.values())).levels[CLEAR]
    values = [[one[LABELS].value for one in severities] for severities in report.corrupted.values()]
    assert report.mean(LABELS) == pytest.approx(np.mean(values))
    assert report.mean(LABELS, "noise") == pytest.approx(np.mean(values[0]))
    record = report.to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["corruptions"]["blur"]["strengths"] == list(CORRUPTIONS["blur"])


def test_a_sample_is_the_same_for_every_corruption_and_model():
    report = evaluate_corruptions(Bright(), striped_faces(), sample=10, seed=5)
    assert report.n == 10
    assert {one[LABELS].n for severities in report.corrupted.values() for one in severities} == {10}
    assert report == evaluate_corruptions(Bright(), striped_faces(), sample=10, seed=5)
