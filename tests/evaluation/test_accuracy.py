import numpy as np
import pytest

from fer_attention.evaluation import accuracy, wilson_interval


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # R: prop.test(correct, n, correct = FALSE)$conf.int
    [(0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (50, 100, 0.4038315, 0.5961685)],
)
def test_wilson_interval_matches_the_textbook(correct, n, low, high):
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=1e-6)


def test_wilson_interval_solves_its_defining_equation():
    correct, n, z = 2400, 3589, 1.959963984540054
    for end in wilson_interval(correct, n):
        assert abs(correct / n - end) == pytest.approx(z * np.sqrt(end * (1 - end) / n), rel=1e-9)


def test_accuracy_and_balanced_accuracy_by_hand():
    labels = np.array([0, 0, 0, 1])
    result = accuracy(np.array([0, 0, 1, 1]), labels)
    assert (result.correct, result.n, result.value) == (3, 4, 0.75)
    assert result.balanced == pytest.approx((2 / 3 + 1) / 2)
    for bad in (np.array([0]), np.zeros((4, 1), int)):
        with pytest.raises(ValueError, match="two arrays"):
            accuracy(bad, labels)
