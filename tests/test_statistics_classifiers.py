"""Two models on the same images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("statsmodels")
from scipy import stats  # noqa: E402

from fer_attention.study.statistics import mcnemar, paired_bootstrap, paired_proportions_interval  # noqa: E402

counts = st.tuples(*(st.integers(0, 40) for _ in range(4))).filter(lambda table: sum(table) > 0)


def answered(both, only_a, only_b, neither):
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return np.array(a), np.array(b)


def test_mcnemar_counts_the_table():
    one = mcnemar(*answered(50, 12, 5, 33))
    assert (one.n, one.both, one.only_a, one.only_b, one.neither) == (100, 50, 12, 5, 33)
    assert one.difference == pytest.approx(0.07)


def test_few_differing_images_take_the_exact_binomial_test():
    one = mcnemar(*answered(50, 12, 5, 33))
    assert one.method == "exact binomial"
    assert one.p == pytest.approx(stats.binomtest(12, 17, 0.5).pvalue)


def test_many_differing_images_take_chi_squared_with_continuity_correction():
    """Agresti's table of the prime minister's approval: 150 and 86 of 1600 changed their mind."""
    one = mcnemar(*answered(794, 150, 86, 570))
    assert one.method == "chi-squared with continuity correction"
    assert one.p == pytest.approx(stats.chi2.sf((abs(150 - 86) - 1) ** 2 / (150 + 86), 1))


def test_identical_models_do_not_differ():
    one = mcnemar([1, 0, 1], [1, 0, 1])
    assert (one.p, one.difference) == (1.0, 0.0)
    assert one.interval[0] < 0 < one.interval[1]


def test_newcombes_interval_without_correlation_is_that_of_unpaired_shares():
    """Where phi is corrected to 0, the interval squares and adds the Wilson intervals' arms."""
    low_a, high_a = stats.binomtest(2, 21).proportion_ci(method="wilson")
    low_b, high_b = stats.binomtest(8, 21).proportion_ci(method="wilson")
    expected = (
        -6 / 21 - np.hypot(2 / 21 - low_a, high_b - 8 / 21),
        -6 / 21 + np.hypot(high_a - 2 / 21, 8 / 21 - low_b),
    )
    assert paired_proportions_interval(1, 1, 7, 12) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("table", "phi"),
    [
        ((36, 12, 2, 10), (36 * 10 - 24 - 30) / np.sqrt(48 * 12 * 38 * 22)),  # corrected for continuity
        ((5, 20, 25, 4), (20 - 500) / np.sqrt(25 * 29 * 30 * 24)),  # negative ones are not
    ],
)
def test_newcombes_interval_uses_the_corrected_phi(table, phi):
    both, only_a, only_b, _ = table
    n = sum(table)
    p_a, p_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = stats.binomtest(both + only_a, n).proportion_ci(method="wilson")
    low_b, high_b = stats.binomtest(both + only_b, n).proportion_ci(method="wilson")
    down, up = np.array([p_a - low_a, high_b - p_b]), np.array([high_a - p_a, p_b - low_b])
    mixing = np.array([[1, -phi], [-phi, 1]])
    expected = (p_a - p_b - np.sqrt(down @ mixing @ down), p_a - p_b + np.sqrt(up @ mixing @ up))
    assert paired_proportions_interval(*table) == pytest.approx(expected)


@given(counts)
def test_swapping_the_models_turns_everything_round(table):
    both, only_a, only_b, neither = table
    one, other = mcnemar(*answered(*table)), mcnemar(*answered(both, only_b, only_a, neither))
    assert one.p == pytest.approx(other.p)
    assert one.difference == -other.difference
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
    assert one.interval[0] <= one.difference <= one.interval[1]
    assert -1 - 1e-12 <= one.interval[0] <= one.interval[1] <= 1 + 1e-12


def test_newcombes_interval_covers_what_it_says():
    rng = np.random.default_rng(0)
    chances = np.array([0.55, 0.12, 0.08, 0.25])
    drawn = rng.multinomial(200, chances, size=2000)
    held = [
        low <= 0.04 <= high for low, high in (paired_proportions_interval(*map(int, row)) for row in drawn)
    ]
    assert 0.935 < np.mean(held) < 0.975


def test_resampling_images_is_the_same_as_resampling_rows_one_by_one():
    rng = np.random.default_rng(0)
    a, b = rng.random(80) < 0.7, rng.random(80) < 0.6
    scores = a.astype(int) - b.astype(int)
    drawn = [scores[rng.integers(80, size=80)].mean() for _ in range(5000)]
    one = paired_bootstrap(a, b)
    assert one.standard_error == pytest.approx(np.std(drawn), rel=0.05)
    assert one.interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)
    assert (one.n, one.groups) == (80, None)


def test_whole_groups_are_resampled_and_shares_taken():
    a = np.array([1, 1, 1, 0, 0, 1])
    b = np.array([0, 0, 0, 0, 1, 1])
    groups = np.array(["x", "x", "x", "y", "y", "y"])  # sums 3 and -1 of 3 images each
    one = paired_bootstrap(a, b, groups=groups, resamples=20_000)
    assert one.groups == 2
    assert one.difference == pytest.approx(2 / 6)
    assert one.interval == pytest.approx((-1 / 3, 1.0))
    assert one.standard_error == pytest.approx(np.std([1, 1 / 3, 1 / 3, -1 / 3]), rel=0.03)


def test_groups_of_different_size_give_the_share_of_the_images_drawn():
    a, b = np.array([1, 1, 1, 0]), np.array([0, 0, 0, 0])
    one = paired_bootstrap(a, b, groups=[0, 0, 0, 1], resamples=20_000)
    assert one.standard_error == pytest.approx(np.std([1, 3 / 4, 3 / 4, 0]), rel=0.03)


def test_groups_of_one_image_each_are_images():
    rng = np.random.default_rng(1)
    a, b = rng.random(300) < 0.7, rng.random(300) < 0.65
    plain, grouped = paired_bootstrap(a, b), paired_bootstrap(a, b, groups=np.arange(300))
    assert grouped.standard_error == pytest.approx(plain.standard_error, rel=0.05)


def test_on_clustered_data_the_groups_interval_is_wider():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 25)
    skill = rng.normal(0, 0.3, 40)[groups]
    a, b = rng.random(1000) < 0.6 + skill, rng.random(1000) < 0.6 - skill
    plain, grouped = paired_bootstrap(a, b), paired_bootstrap(a, b, groups=groups)
    assert np.ptp(grouped.interval) > 1.5 * np.ptp(plain.interval)


@given(counts, st.randoms(use_true_random=False))
def test_the_order_of_the_images_has_no_say(table, random):
    a, b = answered(*table)
    order = list(range(len(a)))
    random.shuffle(order)
    groups = np.arange(len(a)) % 5
    assert paired_bootstrap(a, b, resamples=50) == paired_bootstrap(a[order], b[order], resamples=50)
    if len(a) > 1:
        one = paired_bootstrap(a, b, resamples=50, groups=groups)
        other = paired_bootstrap(a[order], b[order], resamples=50, groups=groups[order])
        assert one.interval == pytest.approx(other.interval)


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ([True], [True, False], {}, "1 images and correct_b of 2"),
        ([], [], {}, "N > 0"),
        ([0.5, 1], [0, 1], {}, "besides 0 and 1"),
        ([1, 0], [0, 1], {"groups": ["x"]}, "one for each image"),
        ([1, 0], [0, 1], {"groups": ["x", "x"]}, "of one group"),
        ([1, 0], [0, 1], {"resamples": 0}, "resamples is 0"),
    ],
)
def test_unfit_answers_are_refused(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(a, b, **options)
