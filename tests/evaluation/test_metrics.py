import json
import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_attention.evaluation import classification_metrics, wilson_interval

NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@st.composite
def answers(draw):
    """Probabilities and labels of 2 to 5 classes, of which some may never occur or never be answered."""
    classes = draw(st.integers(2, 5))
    occurring = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes))
    labels = draw(st.lists(st.sampled_from(occurring), min_size=1, max_size=30))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    logits = generator.normal(size=(len(labels), classes)) * draw(st.floats(0.1, 20))
    logits[:, draw(st.integers(0, classes - 1))] += draw(st.sampled_from([0.0, 50.0, -50.0]))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True), np.array(labels)


def measure(probabilities, labels):
    return classification_metrics(probabilities, labels, NAMES[: probabilities.shape[1]])


@settings(max_examples=50)
@given(answers())
def test_metrics_agree_with_scikit_learn(drawn):
    probabilities, labels = drawn
    result, answered = measure(*drawn), probabilities.argmax(1)
    classes = list(range(probabilities.shape[1]))
    present = sorted(set(labels.tolist()))
    expected = {
        "accuracy": reference.accuracy_score(labels, answered),
        "balanced": reference.recall_score(labels, answered, labels=present, average="macro"),
        "macro_f1": reference.f1_score(labels, answered, average="macro"),
        "nll": reference.log_loss(labels, probabilities, labels=classes),
    }
    found = {
        "accuracy": result.accuracy.value,
        "balanced": result.accuracy.balanced,
        "macro_f1": result.macro_f1,
        "nll": result.negative_log_likelihood,
    }
    assert found == pytest.approx(expected, abs=1e-8)
    matrix = reference.confusion_matrix(labels, answered, labels=classes)
    np.testing.assert_array_equal(result.confusion, matrix)
    assert result.confusion.dtype == np.int64


@settings(max_examples=50)
@given(answers())
def test_metrics_agree_with_formulas_in_loops(drawn):
    probabilities, labels = drawn
    result, answered = measure(*drawn), probabilities.argmax(1)
    f1_of_present = []
    for index, one in enumerate(result.classes):
        right = sum(a == label == index for a, label in zip(answered, labels, strict=True))
        assert (one.support, one.predicted) == (sum(labels == index), sum(answered == index))
        assert one.precision == pytest.approx(right / one.predicted if one.predicted else 0, abs=1e-8)
        if one.support:
            assert one.recall == pytest.approx(right / one.support, abs=1e-8)
            assert (one.low, one.high) == wilson_interval(right, one.support)
        else:
            assert math.isnan(one.recall)
            assert (one.low, one.high) == (0, 1)
        if one.support + one.predicted:
            f1_of_present.append(2 * right / (one.support + one.predicted))
            assert one.f1 == pytest.approx(f1_of_present[-1], abs=1e-8)
        else:
            assert one.f1 == 0
        for other in range(len(result.classes)):
            assert result.confusion[index, other] == sum((labels == index) & (answered == other))
    assert result.macro_f1 == pytest.approx(np.mean(f1_of_present), abs=1e-8)
    recalls = [one.recall for one in result.classes if one.support]
    assert result.accuracy.balanced == pytest.approx(np.mean(recalls), abs=1e-8)
    floor = np.finfo(np.float64).eps
    losses = [-math.log(max(row[label], floor)) for row, label in zip(probabilities, labels, strict=True)]
    assert result.negative_log_likelihood == pytest.approx(np.mean(losses), abs=1e-8)


@settings(max_examples=50)
@given(answers())
def test_metrics_are_plain_json(drawn):
    record = measure(*drawn).to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert {"accuracy", "interval_95", "balanced_accuracy", "correct", "n"} <= set(record)


def test_confusions_are_sorted_and_printed():
    matrix = np.array([[5, 2, 0], [4, 1, 0], [2, 0, 0]])
    true, answered = (np.repeat(axis, matrix.ravel()) for axis in np.indices(matrix.shape).reshape(2, -1))
    result = measure(np.eye(3)[answered], true)
    np.testing.assert_array_equal(result.confusion, matrix)
    assert [str(confusion) for confusion in result.confusions()] == [
        "disgust taken for angry: 4 of 5",
        "angry taken for disgust: 2 of 7",
        "fear taken for angry: 2 of 2",
    ]
    assert len(result.confusions(1)) == 1
    assert measure(np.eye(3), np.arange(3)).confusions() == []


def test_metrics_of_float32_are_computed_in_float64():
    generator = np.random.default_rng(0)
    probabilities, labels = generator.dirichlet(np.ones(7), 50), generator.integers(0, 7, 50)
    single, double = measure(probabilities.astype(np.float32), labels), measure(probabilities, labels)
    np.testing.assert_array_equal(single.confusion, double.confusion)
    assert single.negative_log_likelihood == pytest.approx(double.negative_log_likelihood, rel=1e-6)
    assert single.reliability.ece == pytest.approx(double.reliability.ece, abs=1e-6)


@pytest.mark.parametrize(
    ("probabilities", "labels", "names", "message"),
    [
        (np.array([[2.0, -1.0]]), np.array([0]), NAMES[:2], "Are they logits"),
        (np.array([[0.5, np.nan]]), np.array([0]), NAMES[:2], "sum to 1"),
        (np.array([[0.5, 0.5]]), np.array([2]), NAMES[:2], "from 2 to 2, for 2 classes"),
        (np.array([[0.5, 0.5]]), np.array([-1]), NAMES[:2], "from -1"),
        (np.array([[0.5, 0.5]]), np.array([0.0]), NAMES[:2], "whole numbers"),
        (np.array([[0.5, 0.5]]), np.array([0, 1]), NAMES[:2], r"\(1, 2\) and \(2,\)"),
        (np.empty((0, 2)), np.empty(0, int), NAMES[:2], "N > 0"),
        (np.array([[0.5, 0.5]]), np.array([0]), NAMES[:3], "2 columns"),
        (np.array([[0.5, 0.5]]), np.array([0]), ("sad", "sad"), "name of its own"),
        (np.array([[1.0]]), np.array([0]), NAMES[:1], "two classes"),
    ],
)
def test_invalid_classifications_are_refused(probabilities, labels, names, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(probabilities, labels, names)
