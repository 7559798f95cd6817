"""Statistics of a study, checked against scipy, statsmodels, simulations and explicit formulas."""

import math
import statistics

import numpy as np
import pytest

pytest.importorskip("statsmodels")

import pandas as pd  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from scipy import stats  # noqa: E402
from statsmodels.formula.api import ols  # noqa: E402
from statsmodels.stats.weightstats import ttost_paired  # noqa: E402

from fer_attention.study.analysis.statistics import (  # noqa: E402
    detectable_difference,
    holm,
    interaction_test,
    mean_interval,
    paired_test,
    pareto_front,
    replications_needed,
)

SHARES = st.lists(st.integers(0, 1000).map(lambda right: right / 1000), min_size=2, max_size=12)


def sample(seed, n=6):
    generator = np.random.default_rng(seed)
    return generator.normal(0.62, 0.01, n), generator.normal(0.61, 0.01, n)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_paired_test_agrees_with_scipy_and_statsmodels(seed, alpha):
    a, b = sample(seed)
    found = paired_test(a - b, margin=0.005, alpha=alpha)
    wanted = stats.ttest_rel(a, b)
    assert (found.n, found.mean) == (6, pytest.approx(a.mean() - b.mean()))
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(1 - alpha)))
    p, (_, p_low, _), (_, p_high, _) = ttost_paired(a, b, -0.005, 0.005)
    assert found.p_not_worse == pytest.approx(p_low)
    assert found.p_equivalent == pytest.approx(p) == max(p_low, p_high)


def test_non_inferiority_agrees_with_the_1_minus_2_alpha_interval():
    for seed in range(30):
        a, b = sample(seed)
        found = paired_test(a - b, margin=0.005, alpha=0.05)
        low, high = stats.ttest_rel(a, b).confidence_interval(0.9)
        assert (found.p_not_worse < 0.05) == (low > -0.005)
        assert (found.p_equivalent < 0.05) == (low > -0.005 and high < 0.005)


def test_overlap_enlarges_the_variance_by_nadeau_and_bengio():
    a, b = sample(1, n=10)
    found = paired_test(a - b, margin=0.005, overlap=1 / 9)
    t = (a - b).mean() / math.sqrt((1 / 10 + 1 / 9) * (a - b).var(ddof=1))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 9))
    assert found.p > paired_test(a - b, margin=0.005).p
    assert math.isnan(found.needed)  # more folds would not be independent


@given(SHARES)
def test_order_is_irrelevant_and_a_sign_flip_mirrors_the_result(values):
    one, other = (
        paired_test(values, margin=0.01),
        paired_test([-value for value in values[::-1]], margin=0.01),
    )
    assert one.mean == pytest.approx(-other.mean)
    for name in ("p", "p_equivalent", "sd"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), nan_ok=True, abs=1e-12)
    assert one.low == pytest.approx(-other.high, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("differences", [[], [0.01], [0.61 - 0.6, 0.62 - 0.61, 0.63 - 0.62]])
def test_without_spread_there_is_no_test(differences):
    found = paired_test(differences, margin=0.005)
    assert found.n == len(differences)
    for name in ("low", "high", "p", "p_not_worse", "p_equivalent", "needed", "detectable"):
        assert math.isnan(getattr(found, name))


@pytest.mark.parametrize(
    ("values", "margin"), [([0.1, math.nan], 0.1), ([[0.1], [0.2]], 0.1), ([0.1, 0.2], 0)]
)
def test_invalid_differences_and_margins_are_rejected(values, margin):
    with pytest.raises(ValueError, match="expected|must be"):
        paired_test(values, margin=margin)


def rejections(true, name, *, studies=4000, n=5, sd=0.01, alpha=0.05):
    """Return the share of simulated studies with a p-value below alpha."""
    drawn = np.random.default_rng(0).normal(true, sd, (studies, n))
    t = {
        "p": 2 * stats.t.sf(abs(drawn.mean(1) / stats.sem(drawn, axis=1)), n - 1),
        "p_not_worse": stats.t.sf((drawn.mean(1) + 0.005) / stats.sem(drawn, axis=1), n - 1),
    }[name]
    for row in range(20):  # the formula above agrees with the tested function
        assert getattr(paired_test(drawn[row], margin=0.005), name) == pytest.approx(t[row])
    return float((t < alpha).mean())


def test_error_rates_and_power_hold_in_simulations():
    assert rejections(0.0, "p") == pytest.approx(0.05, abs=0.012)
    assert rejections(-0.005, "p_not_worse") == pytest.approx(0.05, abs=0.012)  # at the margin itself
    assert rejections(detectable_difference(0.01, 5), "p") == pytest.approx(0.8, abs=0.02)
    needed = int(replications_needed(0.01, 0.005))
    assert rejections(0.005, "p", n=needed) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("size", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (5, 3), (30, 2), (0.005, math.nan)]
)
def test_replications_needed_for_standard_and_extreme_effects(size, n):
    assert replications_needed(0.01, 0.01 * size) == pytest.approx(n, nan_ok=True)
    assert replications_needed(0.01, -0.01 * size) == pytest.approx(n, nan_ok=True)


@given(st.lists(st.sampled_from([*np.linspace(0, 1, 101), math.nan]), max_size=8))
def test_holm_matches_its_definition_and_counts_undefined_tests(p_values):
    order = sorted(range(len(p_values)), key=lambda at: (math.isnan(p_values[at]), p_values[at]))
    highest, wanted = 0.0, [math.nan] * len(p_values)
    for rank, at in enumerate(order):
        if not math.isnan(p_values[at]):
            highest = max(highest, min(1.0, p_values[at] * (len(p_values) - rank)))
            wanted[at] = highest
    assert holm(p_values).tolist() == pytest.approx(wanted, nan_ok=True)


@given(SHARES)
def test_mean_interval_contains_the_mean(values):
    low, high = mean_interval(values)
    if len(set(values)) == 1:
        assert math.isnan(low)
        assert math.isnan(high)
    else:
        assert low < statistics.fmean(values) < high


def two_factors(blocks=4, together=0.0, missing=(), noise=0.004):
    generator = np.random.default_rng(2)
    rows = [
        (
            a,
            b,
            block,
            0.6 + 0.01 * (a == "se") + together * (a == "se" and b == "elu") + generator.normal(0, noise),
        )
        for block in range(blocks)
        for a in ("none", "se", "eca")
        for b in ("relu", "elu")
        if (a, b, block) not in missing
    ]
    return pd.DataFrame(rows, columns=["first", "second", "block", "value"])


@pytest.mark.parametrize("missing", [(), {("se", "elu", 1), ("none", "relu", 3)}])
def test_interaction_test_compares_residual_sums_of_squares(missing):
    frame = two_factors(together=0.01, missing=missing)
    full = ols("value ~ C(first) * C(second) + C(block)", frame).fit()
    small = ols("value ~ C(first) + C(second) + C(block)", frame).fit()
    found = interaction_test(frame)
    f = (small.ssr - full.ssr) / 2 / (full.ssr / full.df_resid)
    assert (found.df, found.df_residual) == (2, full.df_resid)
    assert found.f == pytest.approx(f)
    assert found.p == pytest.approx(stats.f.sf(f, 2, full.df_resid))


@pytest.mark.parametrize(
    "frame",
    [
        two_factors(blocks=1),
        two_factors(noise=0.0),
        two_factors(missing={("se", "elu", block) for block in range(4)}),
        two_factors().iloc[:0],
    ],
)
def test_interaction_test_needs_spread_and_all_combinations(frame):
    assert math.isnan(interaction_test(frame).p)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12))
def test_the_pareto_front_has_the_points_that_nothing_dominates(points):
    costs, values = zip(*points, strict=True)
    wanted = [
        not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        for cost, value in points
    ]
    assert pareto_front(costs, values).tolist() == wanted
