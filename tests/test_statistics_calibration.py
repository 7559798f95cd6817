"""Tests reject a true null hypothesis as often as they say, and see what they should."""

import math

import numpy as np
import pytest

pytest.importorskip("statsmodels")
from scipy import stats  # noqa: E402

from fer_attention.study.statistics import (  # noqa: E402
    achieved_power,
    corrected_resampled_t_test,
    friedman,
    mcnemar,
    paired_bootstrap,
    paired_comparison,
    probability_of_outperforming,
    size_curve,
)
from fer_attention.study.statistics.bootstrap import (  # noqa: E402
    bootstrap_means,
    mean_interval,
    percentile_interval,
)
from fer_attention.study.statistics.design import Design  # noqa: E402
from fer_attention.study.statistics.interactions import interaction_contrasts  # noqa: E402
from fer_attention.study.statistics.student import t_interval  # noqa: E402
from fer_attention.study.statistics.wilcoxon import signed_rank_p  # noqa: E402

ALPHA = 0.05


def band(draws, chance=ALPHA):
    """How far a share of so many draws may be off: 3.5 standard errors, one false alarm in 2,000 tests."""
    return 3.5 * math.sqrt(chance * (1 - chance) / draws)


def holds(rejected, chance=ALPHA):
    share = float(np.mean(rejected))
    assert share == pytest.approx(chance, abs=band(len(rejected), chance)), share


def is_conservative(rejected, *, least=0.0, chance=ALPHA):
    share = float(np.mean(rejected))
    assert least <= share <= chance + band(len(rejected), chance), share


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_paired_t_test_holds_its_level_and_its_interval_covers(n):
    rng = np.random.default_rng(n)
    shared = rng.normal(0.6, 0.02, (1000, n))  # seeds move both conditions
    a, b = shared + rng.normal(0, 0.005, (1000, n)), shared + rng.normal(0, 0.005, (1000, n))
    found = [paired_comparison(x, y, resamples=2) for x, y in zip(a, b, strict=True)]
    holds([one.p_t < ALPHA for one in found])
    holds([not one.interval[0] <= 0 <= one.interval[1] for one in found])


@pytest.mark.parametrize("n", [5, 10])
def test_wilcoxon_is_conservative(n):
    drawn = np.random.default_rng(n).normal(0, 1, (4000, n))
    rejected = [signed_rank_p(row) < ALPHA for row in drawn]
    is_conservative(rejected, least=0.03 if n == 10 else 0.0)
    assert n > 5 or not any(rejected)


@pytest.mark.parametrize(("n", "effect"), [(3, 3.0), (5, 1.5), (10, 0.8)])
def test_power_is_what_achieved_power_says(n, effect):
    drawn = np.random.default_rng(n).normal(effect, 1, (1000, n))
    zeros = np.zeros(n)
    holds(
        [paired_comparison(row, zeros, resamples=2).p_t < ALPHA for row in drawn],
        achieved_power(1.0, effect, n),
    )


def test_bootstrap_intervals_of_few_values_are_as_narrow_as_the_documents_say():
    shares = {}
    for n in (3, 20):
        drawn = np.random.default_rng(n).normal(0, 1, (1000, n))
        ends = [mean_interval(row, confidence=0.95, resamples=1000, seed=0)[0] for row in drawn]
        shares[n] = np.mean([low <= 0 <= high for low, high in ends])
        t = [
            t_interval(row.mean(), row.std(ddof=1) / math.sqrt(n), df=n - 1, confidence=0.95) for row in drawn
        ]
        holds([not low <= 0 <= high for low, high in t])
    assert shares[3] == pytest.approx(0.72, abs=band(1000, 0.72))
    assert shares[20] == pytest.approx(0.924, abs=band(1000, 0.924))


@pytest.mark.parametrize(("n", "chance"), [(3, 1 / 8), (5, 1 / 32)])
def test_outperforming_on_few_pairs_is_as_rash_as_the_documents_say(n, chance):
    drawn = np.random.default_rng(n).normal(0, 1, (1000, n))
    zeros = np.zeros(n)
    rejected = [probability_of_outperforming(row, zeros, resamples=500).significant for row in drawn]
    holds(rejected, chance)


def test_the_corrected_t_test_without_overlap_holds_its_level():
    drawn = np.random.default_rng(0).normal(0, 1, (3000, 5))
    holds([corrected_resampled_t_test(row, train_size=9, test_size=0).p < ALPHA for row in drawn])


def test_nadeau_and_bengio_hold_their_level_on_overlapping_splits_where_t_does_not():
    """Two learners of equal merit, each on its own noisy feature, trained on 15 random splits of 60 samples.

    A learner's threshold is the mean of its two class means on the training part, so that both err by the
    same chance and their differences over splits hang together as the splits overlap.
    """
    rng = np.random.default_rng(0)
    n, train, repeats, studies = 60, 48, 15, 600
    corrected, plain = [], []
    for _ in range(studies):
        label = np.arange(n) % 2
        features = label[:, None] + rng.normal(0, 1, (n, 2))
        order = rng.permuted(np.tile(np.arange(n), (repeats, 1)), axis=1)
        inside, outside = order[:, :train], order[:, train:]
        known = label[inside][..., None]
        seen = features[inside]
        means = [np.where(known == k, seen, 0).sum(1) / (known == k).sum(1) for k in (0, 1)]
        guess = features[outside] > ((means[0] + means[1]) / 2)[:, None]
        right = (guess == label[outside][..., None].astype(bool)).mean(axis=1)
        found = corrected_resampled_t_test(right[:, 0] - right[:, 1], train_size=train, test_size=n - train)
        corrected.append(found.p is not None and found.p < ALPHA)
        plain.append(stats.ttest_1samp(right[:, 0] - right[:, 1], 0).pvalue < ALPHA)
    is_conservative(corrected)
    assert np.mean(plain) > 0.2


def correctness(rng, studies, images, discordant):
    """Answers of two models of equal merit: on a share of the images just one is right."""
    kind = rng.random((studies, images))
    a = kind < 0.6 + discordant / 2
    b = (kind < 0.6) | ((kind >= 0.6 + discordant / 2) & (kind < 0.6 + discordant))
    return zip(a, b, strict=True)


@pytest.mark.parametrize(("images", "discordant"), [(100, 0.15), (1000, 0.2)])
def test_mcnemar_is_conservative(images, discordant):
    answers = correctness(np.random.default_rng(0), 2000, images, discordant)
    is_conservative([mcnemar(a, b).p < ALPHA for a, b in answers], least=0.015)


def test_the_image_bootstrap_holds_its_level():
    answers = correctness(np.random.default_rng(0), 1500, 500, 0.2)
    found = [paired_bootstrap(a, b, resamples=1000).interval for a, b in answers]
    holds([not low <= 0 <= high for low, high in found])


def test_the_group_bootstrap_holds_where_the_image_bootstrap_does_not():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    whole, single = [], []
    for seed in range(400):
        lean = rng.normal(0, 0.25, 60)[groups]
        a, b = rng.random(600) < 0.6 + lean, rng.random(600) < 0.6 - lean
        ends = paired_bootstrap(a, b, groups=groups, resamples=500, seed=seed).interval
        whole.append(not ends[0] <= 0 <= ends[1])
        ends = paired_bootstrap(a, b, resamples=500, seed=seed).interval
        single.append(not ends[0] <= 0 <= ends[1])
    holds(whole)
    assert np.mean(single) > 0.15


def test_friedman_holds_its_level_over_ten_data_sets():
    scores = np.random.default_rng(0).normal(0, 1, (400, 10, 4)) + np.arange(10)[:, None]
    found = [friedman(table) for table in scores]
    holds([one.p < ALPHA for one in found])
    is_conservative([min(map(min, one.pairwise_p)) < ALPHA for one in found])


def contrasts(interaction, *, margin, studies, blocks=6, noise=0.005):
    """The single contrast of so many studies of two by two levels."""
    rng = np.random.default_rng(1)
    tables = rng.normal(0, noise, (studies, blocks, 2, 2)) + rng.normal(0, 0.02, (studies, blocks, 1, 1))
    tables[:, :, 1, :] += 0.01
    tables[:, :, 1, 1] += interaction
    for table in tables:
        design = Design(("none", "se"), ("relu", "elu"), tuple(range(blocks)), table)
        yield interaction_contrasts(design, margin=margin)[0]


def test_interactions_are_found_by_chance_no_more_often_than_alpha():
    found = list(contrasts(0.0, margin=0.005, studies=600))
    holds([one.p < ALPHA for one in found])
    holds([one.verdict in ("synergistic", "antagonistic") for one in found])


def test_an_interaction_as_large_as_the_margin_is_seldom_called_additive():
    found = list(contrasts(0.01, margin=0.01, studies=600, noise=0.0025))
    rejected = [one.p_equivalence < ALPHA for one in found]
    holds(rejected)
    is_conservative([one.verdict == "additive" for one in found])


def test_an_interaction_is_found_as_often_as_its_power_says():
    found = list(contrasts(0.015, margin=0.005, studies=400))
    holds([one.verdict == "synergistic" for one in found], achieved_power(0.005 * 2, 0.015, 6))


def test_the_size_slope_holds_its_level_over_replications_where_one_line_does_not():
    """Each seed's gains drift with size in its own way, so that the points of a seed hang together."""
    rng = np.random.default_rng(0)
    sizes, seeds = np.tile([1000, 2000, 4000, 8000], 5), np.repeat(np.arange(5), 4)
    own, single = [], []
    for _ in range(1000):
        drift = rng.normal(0, 0.004, 5)[seeds] * np.log2(sizes / 2828)
        gains = 0.01 + drift + rng.normal(0, 0.002, 20)
        own.append(size_curve(sizes, gains, replications=seeds.tolist()).p < ALPHA)
        single.append(size_curve(sizes, gains).p < ALPHA)
    holds(own)
    assert np.mean(single) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "t", "bca", "percentile"),
    [
        (3, 0.949, 0.722, 0.749),
        (5, 0.951, 0.839, 0.841),
        (10, 0.952, 0.901, 0.903),
        (20, 0.947, 0.924, 0.925),
    ],
)
def test_the_coverage_table_of_the_documents(n, t, bca, percentile):
    draws, held = 5000, {"t": 0, "bca": 0, "percentile": 0}
    for seed, row in enumerate(np.random.default_rng([1, n]).normal(0, 1, (draws, n))):
        drawn = bootstrap_means(row, resamples=2000, seed=seed)
        ends = {
            "t": t_interval(row.mean(), row.std(ddof=1) / math.sqrt(n), df=n - 1, confidence=0.95),
            "bca": mean_interval(row, confidence=0.95, resamples=2000, seed=seed)[0],
            "percentile": percentile_interval(drawn, 0.95),
        }
        for name, (low, high) in ends.items():
            held[name] += low <= 0 <= high
    for name, share in (("t", t), ("bca", bca), ("percentile", percentile)):
        assert held[name] / draws == pytest.approx(share, abs=1.2 * band(draws, share)), name
