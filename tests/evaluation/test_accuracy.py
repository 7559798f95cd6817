import numpy as np
import pytest

from fer_attention.evaluation import accuracy, wilson_interval
from fer_attention.evaluation.accuracy import mean_interval


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


@pytest.mark.parametrize("recalls", [(0.5, 0.9), (0.97, 0.6, 0.8)])
def test_the_interval_of_balanced_accuracy_covers_the_truth(recalls):
    generator = np.random.default_rng(0)
    sizes = [20, 60, 200][: len(recalls)]
    covered = []
    for _ in range(2000):
        right = [int(generator.binomial(n, recall)) for n, recall in zip(sizes, recalls, strict=True)]
        low, high = mean_interval(list(zip(right, sizes, strict=True)))
        covered.append(low <= np.mean(recalls) <= high)
    assert 0.935 < np.mean(covered) < 0.975  # three standard errors of 2,000 draws are 0.015
