"""Comparisons over matched replications, each number found a second way."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("statsmodels")
from scipy import stats  # noqa: E402

from fer_attention.study.statistics import (  # noqa: E402
    corrected_resampled_t_test,
    holm,
    paired_comparison,
    probability_of_outperforming,
)
from fer_attention.study.statistics.bootstrap import mean_interval  # noqa: E402
from fer_attention.study.statistics.checks import numbers  # noqa: E402
from fer_attention.study.statistics.wilcoxon import signed_rank_p  # noqa: E402

A = np.array([0.6312, 0.6290, 0.6401, 0.6355, 0.6280, 0.6333])
B = np.array([0.6250, 0.6301, 0.6322, 0.6300, 0.6199, 0.6290])
shares = st.integers(0, 2000).map(lambda count: count / 2000)
samples = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*(arrays(np.float64, n, elements=shares) for _ in "ab"))
)


def test_t_test_and_interval_are_scipys():
    one, other = paired_comparison(A, B), stats.ttest_rel(A, B)
    assert one.p_t == pytest.approx(other.pvalue, rel=1e-10)
    assert one.interval == pytest.approx(tuple(other.confidence_interval(0.95)), rel=1e-10)
    assert one.interval == one.t_interval
    assert (one.n, one.mean_a, one.mean_b) == (6, pytest.approx(A.mean()), pytest.approx(B.mean()))


def test_effect_sizes_follow_their_formulas():
    differences = A - B
    one = paired_comparison(A, B)
    assert one.difference == pytest.approx(differences.mean())
    assert one.sd == pytest.approx(math.sqrt(sum((d - differences.mean()) ** 2 for d in differences) / 5))
    assert one.d_z == pytest.approx(one.difference / one.sd)
    assert one.g_z == pytest.approx(one.d_z * math.gamma(5 / 2) / (math.sqrt(5 / 2) * math.gamma(2)))
    assert one.g_z == pytest.approx(one.d_z * (1 - 3 / (4 * 5 - 1)), rel=0.005)  # Hedges' approximation
    assert one.probability_a_better == pytest.approx(5 / 6)


def test_students_data_on_two_sleeping_drugs():
    """Student 1908: t = 4.06 with 9 degrees of freedom, mean difference 1.58 hours."""
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    other = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired_comparison(other, one)
    assert found.difference == pytest.approx(1.58)
    assert found.d_z * math.sqrt(10) == pytest.approx(4.0621, abs=1e-4)
    assert found.p_t == pytest.approx(0.002833, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12, 30])
def test_wilcoxon_is_scipys_exact_one_without_ties(n):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank_p(differences) == pytest.approx(
        stats.wilcoxon(differences, method="exact").pvalue, rel=1e-9
    )


@pytest.mark.parametrize("seed", range(5))
def test_wilcoxon_with_ties_counts_all_choices_of_signs(seed):
    differences = np.random.default_rng(seed).integers(-3, 5, 9) / 100
    kept = differences[differences != 0]
    ranks = stats.rankdata(abs(kept))
    sums = [ranks[np.array(signs)].sum() for signs in itertools.product([True, False], repeat=len(kept))]
    far = abs(ranks[kept > 0].sum() - ranks.sum() / 2)
    expected = np.mean([abs(one - ranks.sum() / 2) >= far - 1e-9 for one in sums])
    assert signed_rank_p(differences) == pytest.approx(expected)


def test_wilcoxon_of_many_differences_is_scipys_normal_approximation():
    differences = np.random.default_rng(0).normal(0.2, 1, 80)
    expected = stats.wilcoxon(differences, method="asymptotic", correction=False).pvalue
    assert signed_rank_p(differences) == pytest.approx(expected, rel=1e-9)


def test_five_pairs_cannot_be_significant_by_wilcoxon():
    assert paired_comparison(np.arange(5) + 1.0, np.zeros(5)).p_wilcoxon == 2 / 2**5


@pytest.mark.parametrize("n", [3, 6, 15])
def test_bca_interval_is_near_scipys(n):
    values = np.random.default_rng(n).gamma(2, 1, n)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa").confidence_interval
    (low, high), method = mean_interval(values, confidence=0.95, resamples=20_000, seed=1)
    assert method == "bca"
    assert (low, high) == pytest.approx(tuple(expected), abs=0.04 * values.std())


def test_bca_moves_towards_the_long_tail_and_two_values_have_the_percentile_one():
    values = np.array([0.0, 0.1, 0.2, 0.1, 0.3, 4.0])
    (low, high), _ = mean_interval(values, confidence=0.95, resamples=5000, seed=0)
    assert high - values.mean() > values.mean() - low
    assert mean_interval(np.array([0.0, 1.0]), confidence=0.95, resamples=5000, seed=0) == (
        (0.0, 1.0),
        "percentile",
    )


@given(samples)
def test_swapping_the_conditions_changes_signs_only(sample):
    a, b = sample
    one, other = paired_comparison(a, b, resamples=50), paired_comparison(b, a, resamples=50)
    assert one.difference == pytest.approx(-other.difference)
    assert (one.p_t, one.p_wilcoxon) == pytest.approx((other.p_t, other.p_wilcoxon))
    assert one.probability_a_better == pytest.approx(1 - other.probability_a_better)
    if one.interval is not None:
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))


@given(samples, st.floats(-0.5, 0.5))
def test_a_constant_added_to_both_changes_nothing_but_the_means(sample, constant):
    a, b = sample
    one, other = (
        paired_comparison(a, b, resamples=50),
        paired_comparison(a + constant, b + constant, resamples=50),
    )
    for name in ("difference", "sd", "p_t", "p_wilcoxon", "probability_a_better"):
        before, after = getattr(one, name), getattr(other, name)
        assert before == (after if after is None else pytest.approx(after, rel=1e-6, abs=1e-9)), name


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_replications_has_no_say(sample, random):
    a, b = sample
    order = list(range(len(a)))
    random.shuffle(order)
    one, other = paired_comparison(a, b, resamples=50), paired_comparison(a[order], b[order], resamples=50)
    for name in ("bootstrap_interval", "interval"):
        before, after = getattr(one, name), getattr(other, name)
        assert before == (after if after is None else pytest.approx(after)), name
    for paired in (True, False):
        ahead = probability_of_outperforming(a, b, resamples=50, paired=paired)
        assert ahead.interval == pytest.approx(
            probability_of_outperforming(a[order], b[order], resamples=50, paired=paired).interval
        )


@pytest.mark.parametrize(("lead", "wilcoxon"), [(0.0, None), (0.01, 0.25)])
def test_without_spread_what_needs_it_is_none(lead, wilcoxon):
    b = np.array([0.60, 0.61, 0.62])  # 0.61 + 0.01 - 0.61 is not 0.01 in binary
    one = paired_comparison(b + lead, b)
    assert (one.difference, one.sd) == (pytest.approx(lead), 0.0)
    assert one.p_wilcoxon == wilcoxon
    for name in ("interval", "bootstrap_interval", "bootstrap_method", "p_t", "d_z", "g_z"):
        assert getattr(one, name) is None, name


def test_the_seed_decides_and_the_global_random_state_stays():
    before = np.random.get_state()[1].copy()
    one = paired_comparison(A, B, seed=3)
    assert one == paired_comparison(A, B, seed=3)
    assert one.bootstrap_interval != paired_comparison(A, B, seed=4).bootstrap_interval
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.5], [0.4], "a has 1 value.*at least 2"),
        ([0.5, 0.6], [0.4], "b has 1 value"),
        ([0.5, 0.6, 0.7], [0.4, 0.5], "a has 3 values and b 2"),
        ([0.5, math.nan], [0.4, 0.5], r"a\[1\] is nan"),
        ([[0.5, 0.6]], [0.4, 0.5], r"shape \(1, 2\)"),
    ],
)
def test_unfit_samples_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        paired_comparison(a, b)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_a_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        paired_comparison(A, B, confidence=confidence)


def test_outperforming_counts_wins_and_half_of_the_ties():
    one = probability_of_outperforming([3, 2, 1, 5], [1, 2, 2, 4])
    assert one.probability == (1 + 0.5 + 0 + 1) / 4
    free = probability_of_outperforming([3, 2], [1, 2, 5], paired=False)
    assert free.probability == np.mean([(x > y) + (x == y) / 2 for x in (3, 2) for y in (1, 2, 5)])
    u = stats.mannwhitneyu(A, B).statistic / 36
    assert probability_of_outperforming(A, B, paired=False).probability == pytest.approx(u)


def test_the_outperforming_interval_is_that_of_a_share_of_wins():
    a = np.r_[np.ones(22), np.zeros(8)]
    one = probability_of_outperforming(a, 1 - a, resamples=50_000)
    low, high = stats.binom.ppf([0.025, 0.975], 30, 22 / 30) / 30
    assert one.interval == pytest.approx((low, high), abs=1 / 30)
    drawn = np.random.default_rng(0).choice(a, (20_000, 30))
    assert one.interval == pytest.approx(np.quantile(drawn.mean(axis=1), [0.025, 0.975]), abs=1 / 30)


@pytest.mark.parametrize(
    ("wins", "of", "verdict"),
    [
        (17, 30, "not significant"),
        (29, 30, "significant and meaningful"),
        (3300, 6000, "significant, not meaningful"),
    ],
)
def test_the_three_verdicts_of_bouthillier(wins, of, verdict):
    a = np.r_[np.ones(wins), np.zeros(of - wins)]
    assert probability_of_outperforming(a, 1 - a).verdict == verdict


def test_nadeau_and_bengio_enlarge_the_variance_by_the_overlap():
    differences = A - B
    one = corrected_resampled_t_test(differences, train_size=90, test_size=10)
    variance = (1 / 6 + 1 / 9) * differences.var(ddof=1)
    t = differences.mean() / math.sqrt(variance)
    assert one.t == pytest.approx(t)
    assert one.p == pytest.approx(2 * stats.t.sf(t, 5))
    assert one.interval == pytest.approx(
        differences.mean() + np.array([-1, 1]) * stats.t.ppf(0.975, 5) * math.sqrt(variance)
    )
    plain = corrected_resampled_t_test(differences, train_size=90, test_size=0)
    assert plain.p == pytest.approx(stats.ttest_rel(A, B).pvalue)


def test_the_corrected_test_without_spread_is_undefined():
    one = corrected_resampled_t_test([0.01, 0.01], train_size=9, test_size=1)
    assert (one.sd, one.t, one.p, one.interval) == (0.0, None, None, None)


@pytest.mark.parametrize("sizes", [{"train_size": 0, "test_size": 1}, {"train_size": 9, "test_size": -1}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="_size is"):
        corrected_resampled_t_test([0.1, 0.2], **sizes)


def test_holm_keeps_the_order_and_counts_undefined_tests():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    found = holm([0.04, None, 0.01, 0.03])
    assert found[1] is None
    assert [found[0], *found[2:]] == pytest.approx([0.09, 0.04, 0.09])
    assert holm([]) == []
    assert holm([None]) == [None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_its_stepwise_definition(p_values):
    order = np.argsort(p_values)
    expected, highest = np.empty(len(p_values)), 0.0
    for step, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[place]))
        expected[place] = highest
    assert holm(p_values) == pytest.approx(expected)


def test_holm_is_statsmodels():
    p_values = np.random.default_rng(0).random(30) ** 3
    expected = pytest.importorskip("statsmodels.stats.multitest").multipletests(p_values, method="holm")[1]
    assert holm(p_values.tolist()) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_p_value(bad):
    with pytest.raises(ValueError, match=r"p_values\[1\]"):
        holm([0.1, bad])


def test_numbers_are_taken_from_lists_and_integers():
    assert numbers([1, 2], "x").dtype == np.float64
