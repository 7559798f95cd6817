import json

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from fer_attention.evaluation import reliability


def draw(seed, *, n=400, classes=7, sharpness=2.0):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)) * sharpness
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probabilities, generator.integers(0, classes, n)


def test_bins_and_errors_by_hand():
    confidence = np.array([0.55, 0.60, 0.70, 0.95, 0.85])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.array([0, 1, 0, 0, 1])  # right, wrong, right, right, wrong
    result = reliability(probabilities, labels, bins=5)
    assert result.count.tolist() == [0, 0, 2, 1, 2]  # 0.60 belongs to (0.4, 0.6]
    np.testing.assert_allclose(result.confidence, [np.nan, np.nan, 0.575, 0.70, 0.90])
    np.testing.assert_allclose(result.accuracy, [np.nan, np.nan, 0.5, 1.0, 0.5])
    assert result.ece == pytest.approx((2 * 0.075 + 0.3 + 2 * 0.4) / 5)
    assert result.mce == pytest.approx(0.4)
    filled = result.filled()
    assert [one.count for one in filled] == [2, 1, 2]
    assert [one.low for one in filled] == pytest.approx([0.4, 0.6, 0.8])
    assert [one.high for one in filled] == pytest.approx([0.6, 0.8, 1.0])


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(0.1, 1.5))
def test_errors_agree_with_torchmetrics_and_with_a_loop(seed, bins, sharpness):
    probabilities, labels = draw(seed, sharpness=sharpness)
    result = reliability(probabilities, labels, bins=bins)
    places = probabilities.max(1) * bins  # torchmetrics computes in single precision: keep off the edges
    assume(np.abs(places - places.round()).min() > 1e-5)
    tensors = torch.from_numpy(probabilities), torch.from_numpy(labels)
    for norm, found in (("l1", result.ece), ("max", result.mce)):
        expected = multiclass_calibration_error(*tensors, num_classes=7, n_bins=bins, norm=norm)
        assert found == pytest.approx(float(expected), abs=1e-5)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    gaps = []
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        gaps.append(abs(right[inside].sum() - confidence[inside].sum()) / len(labels))
    assert result.ece == pytest.approx(sum(gaps), abs=1e-8)


def test_certain_right_answers_are_calibrated_and_wrong_ones_are_not():
    sure = np.eye(3)[[0, 1, 2]]
    assert reliability(sure, np.array([0, 1, 2])).ece == 0
    wrong = reliability(sure, np.array([1, 2, 0]))
    assert (wrong.ece, wrong.mce) == (1, 1)
    assert wrong.count[-1] == 3


def test_calibrated_answers_have_a_small_error():
    probabilities, _ = draw(0, n=20_000)
    generator = np.random.default_rng(1)
    drawn = (probabilities.cumsum(1) < generator.random((20_000, 1))).sum(1)
    assert reliability(probabilities, drawn).ece < 0.02


def test_empty_bins_are_null_in_json():
    record = reliability(*draw(0, n=3)).to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert None in record["accuracy"]
    assert len(record["edges"]) == 16


def test_zero_bins_and_invalid_probabilities_are_refused():
    probabilities, labels = draw(0)
    with pytest.raises(ValueError, match="at least one bin"):
        reliability(probabilities, labels, bins=0)
    with pytest.raises(ValueError, match="Are they logits"):
        reliability(probabilities * 7, labels)
