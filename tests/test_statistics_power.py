"""Replications, effects and power; the Pareto front."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("statsmodels")
from scipy import stats  # noqa: E402

from fer_attention.study.statistics import (  # noqa: E402
    achieved_power,
    detectable_effect,
    pareto_front,
    replications_needed,
)


@pytest.mark.parametrize(("size", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_replications_of_cohens_sizes(size, n):
    """What G*Power 3 gives for a paired t-test, two-sided, alpha 0.05, power 0.8."""
    assert replications_needed(1.0, size) == n
    assert achieved_power(1.0, size, n) >= 0.8 > achieved_power(1.0, size, n - 1)


@pytest.mark.parametrize(("n", "effect"), [(3, 2.0), (5, 1.0), (10, 0.5), (30, 0.5)])
def test_power_is_the_share_of_significant_t_tests(n, effect):
    drawn = np.random.default_rng(n).normal(effect, 1, (20_000, n))
    share = (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean()
    assert achieved_power(1.0, effect, n) == pytest.approx(share, abs=4 * math.sqrt(0.25 / 20_000))


@given(st.floats(1e-4, 10), st.integers(2, 300), st.floats(0.2, 0.95))
def test_the_detectable_effect_has_just_that_power(sd, n, power):
    effect = detectable_effect(sd, n, power=power)
    assert achieved_power(sd, effect, n) == pytest.approx(power, abs=1e-6)


@given(st.floats(1e-3, 1e3), st.integers(2, 10_000))
def test_power_is_a_share_and_grows_however_large_the_effect(effect, n):
    low, high = achieved_power(1.0, effect, n), achieved_power(1.0, effect * 1.5, n)
    assert 0.049 <= low <= high + 1e-6 <= 1 + 2e-6


@given(st.floats(0.05, 3), st.floats(0.5, 0.95))
def test_needed_replications_are_the_least(effect, power):
    n = replications_needed(1.0, effect, power=power)
    assert achieved_power(1.0, effect, n) >= power
    assert n == 2 or achieved_power(1.0, effect, n - 1) < power


def test_without_spread_two_replications_see_everything():
    assert replications_needed(0.0, 0.001) == 2
    assert detectable_effect(0.0, 5) == 0.0
    assert achieved_power(0.0, 0.001, 2) == 1.0
    assert achieved_power(0.0, 0.0, 5) == 0.05


def test_what_no_number_of_replications_sees_is_none():
    assert replications_needed(1.0, 0.0) is None
    assert replications_needed(0.0, 0.0) is None
    assert replications_needed(1.0, 0.001) is None
    assert replications_needed(1.0, 0.5, maximum=20) is None
    assert detectable_effect(1.0, 1) is None
    assert achieved_power(1.0, 1.0, 1) is None


def test_signs_and_units_are_of_no_importance():
    assert replications_needed(0.01, -0.005) == replications_needed(2.0, 1.0)
    assert achieved_power(0.01, -0.005, 7) == pytest.approx(achieved_power(2.0, 1.0, 7))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: replications_needed(-1, 1), "sd is -1"),
        (lambda: replications_needed(math.nan, 1), "sd is nan"),
        (lambda: replications_needed(1, 1, power=1), "power is 1"),
        (lambda: replications_needed(1, math.inf), "effect is inf"),
        (lambda: detectable_effect(1, 5, power=0.01), "power is 0.01"),
        (lambda: achieved_power(1, 1, 5, alpha=0), "alpha is 0"),
        (lambda: replications_needed(1, 1, maximum=1), "maximum is 1"),
    ],
)
def test_impossible_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


grid = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(grid, grid, grid), max_size=25))
def test_the_front_is_what_nothing_dominates(points):
    costs, values = [p[:2] for p in points], [p[2] for p in points]

    def beaten(one):
        return any(x <= one[0] and y <= one[1] and v >= one[2] and (x, y, v) != one for x, y, v in points)

    found = pareto_front(np.array(costs).reshape(-1, 2), values)
    assert found.tolist() == [not beaten(point) for point in points]


def test_ties_stay_and_one_cost_may_be_a_list():
    assert pareto_front([1, 1, 2, 3], [0.5, 0.5, 0.5, 0.6]).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("costs", "values", "message"),
    [([1, math.nan], [1, 2], "costs"), ([1, 2], [1, math.inf], "values"), ([1], [1, 2], "for 2 values")],
)
def test_unfit_points_are_refused(costs, values, message):
    with pytest.raises(ValueError, match=message):
        pareto_front(costs, values)


@given(st.floats(0.01, 0.999), st.floats(0.001, 0.2), st.floats(0.03, 30))
def test_the_search_for_replications_finds_what_halving_finds(power, alpha, effect):
    low, high = 1, 100_000
    while high - low > 1:
        middle = (low + high) // 2
        enough = achieved_power(1.0, effect, middle, alpha=alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    assert replications_needed(1.0, effect, power=power, alpha=alpha, maximum=100_000) == high
