"""Coverage, candidates and the risk-coverage curve."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.calibration import Calibration
from fer_attention.evaluation import measure_doubt, reliability


def test_numbers_by_hand():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.7, 0.2, 0.1], [0.45, 0.35, 0.2]])
    found = measure_doubt(probabilities, np.array([0, 1, 2, 2]), Calibration(threshold=0.6))
    assert (found.n, found.coverage) == (4, 0.5)  # {0}, {0, 1}, {0}, {0, 1}
    assert (found.candidates, found.sure) == (1.5, 0.5)
    assert found.sure_accuracy == 0.5
    assert found.aurc == pytest.approx((0 + 1 / 2 + 2 / 3 + 3 / 4) / 4)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == found.to_dict()


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.95))
def test_votes_count_by_their_shares(seed, threshold):
    generator = np.random.default_rng(seed)
    probabilities, shares = generator.dirichlet(np.ones(4), 30), generator.dirichlet(np.ones(4), 30)
    rule = Calibration(threshold=threshold)
    found = measure_doubt(probabilities, shares, rule)
    names = list("abcd")
    sets = [rule.candidates(dict(zip(names, row, strict=True))) for row in probabilities.tolist()]
    masses = [sum(row[names.index(n)] for n in chosen) for row, chosen in zip(shares, sets, strict=True)]
    assert found.coverage == pytest.approx(np.mean(masses))
    assert found.candidates == pytest.approx(np.mean([len(chosen) for chosen in sets]))
    errors = sorted(
        (-row.max(), 1 - share[row.argmax()]) for row, share in zip(probabilities, shares, strict=True)
    )
    risks = [np.mean([error for _, error in errors[:k]]) for k in range(1, 31)]
    assert found.aurc == pytest.approx(np.mean(risks))
    assert found.low <= found.coverage <= found.high


def test_no_sure_answer_has_no_accuracy():
    found = measure_doubt(np.full((3, 4), 0.25), np.array([0, 1, 2]), Calibration())
    assert math.isnan(found.sure_accuracy)
    assert found.to_dict()["sure_accuracy"] is None
    assert (found.sure, found.coverage) == (0, 1)


def test_calibration_errors_take_shares_of_votes():
    probabilities = np.array([[0.75, 0.25], [0.75, 0.25]])
    assert reliability(probabilities, np.array([[0.8, 0.2], [0.7, 0.3]])).ece == pytest.approx(0)
    assert reliability(probabilities, np.array([0, 0])).ece == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(1, 2\)"):
        reliability(probabilities, np.array([[1.0, 0.0]]))
