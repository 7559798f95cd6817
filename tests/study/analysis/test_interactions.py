"""Gains that depend on another factor or on the number of images, on synthetic runs with known gains."""

import itertools
import math
import statistics

import numpy as np
import pytest

pytest.importorskip("statsmodels")

from scipy import stats  # noqa: E402

from fer_attention.study.analysis import analyse_folder  # noqa: E402
from tests.support.study_records import TWO_BY_TWO, accuracies, make_study, only  # noqa: E402

SIZES = {"backbone": "resnetv2_18", "attention": ["none", "se"], "fraction": [1.0, 0.25, 0.5]}


def wobble(factors, seed, fold, size=0.002):
    """Return a little reproducible noise for each run."""
    words = [str(value) for value in (*factors.values(), seed, fold)]
    return size * float(np.random.default_rng([*"/".join(words).encode()]).standard_normal())


def gains(together, size=0.002):
    """SE gains 2 points, ELU 1, and both `together` in addition."""

    def effect(factors, seed, fold):
        se, elu = factors["attention"] == "se", factors["activation"] == "elu"
        return 0.02 * se + 0.01 * elu + together * (se and elu) + wobble(factors, seed, fold, size)

    return effect


@pytest.mark.parametrize(
    ("together", "size", "verdict", "dependent"),
    [
        (0.03, 0.002, "synergistic", True),
        (-0.03, 0.002, "antagonistic", True),
        (0.0, 0.001, "additive", False),
        (0.0, 0.03, "undecided", False),  # too noisy to show additivity
    ],
)
def test_interactions_are_detected(tmp_path, together, size, verdict, dependent):
    make_study(tmp_path, TWO_BY_TWO, effect=gains(together, size), seeds=8, interactions=[{}])
    found = analyse_folder(tmp_path)
    contrast, overall = only(found.contrasts.itertuples()), only(found.interactions.itertuples())
    assert contrast.verdict == verdict
    assert (contrast.first, contrast.second, contrast.within, contrast.n) == ("se", "elu", "", 8)
    assert (overall.p < 0.05) == dependent


@pytest.mark.parametrize(("seeds", "folds"), [(4, 1), (2, 3)])
def test_contrasts_are_corrected_for_overlapping_folds(tmp_path, seeds, folds):
    store = make_study(
        tmp_path, TWO_BY_TWO, effect=gains(0.01), seeds=seeds, folds=folds, interactions=[{}], alpha=0.1
    )
    runs = {
        cell: accuracies(store, attention=cell[0], activation=cell[1])
        for cell in itertools.product(("none", "se"), ("relu", "elu"))
    }
    values = [
        runs["se", "elu"][one]
        - runs["se", "relu"][one]
        + runs["none", "relu"][one]
        - runs["none", "elu"][one]
        for one in itertools.product(range(seeds), range(folds))
    ]
    contrast = only(analyse_folder(tmp_path).contrasts.itertuples())
    factor = 1 / len(values) + (1000 / 8000 if folds > 1 else 0)
    t = abs(statistics.fmean(values)) / math.sqrt(factor * statistics.variance(values))
    assert (contrast.n, contrast.mean) == (len(values), pytest.approx(statistics.fmean(values)))
    assert contrast.p == pytest.approx(2 * stats.t.sf(t, len(values) - 1))
    half = stats.t.ppf(0.95, len(values) - 1) * abs(statistics.fmean(values)) / t
    assert contrast.high - contrast.low == pytest.approx(2 * half)


def test_folds_of_one_seed_are_not_blocks_of_the_f_test(tmp_path):
    make_study(tmp_path, TWO_BY_TWO, effect=gains(0.01), seeds=1, folds=4, interactions=[{}])
    found = analyse_folder(tmp_path)
    assert math.isnan(only(found.interactions.itertuples()).p)
    assert only(found.contrasts.itertuples()).n == 4


def test_the_first_level_in_the_file_is_the_baseline(tmp_path):
    factors = {**TWO_BY_TWO, "attention": ["se", "none"]}

    def without(run):
        return run.seed == 0 and run.factors["attention"] == "se"

    make_study(tmp_path, factors, effect=gains(0.03), without=without, interactions=[{}])
    contrast = only(analyse_folder(tmp_path).contrasts.itertuples())
    assert (contrast.first_baseline, contrast.first, contrast.n) == ("se", "none", 3)
    assert contrast.mean == pytest.approx(-0.03, abs=0.01)


def test_interactions_are_tested_within_each_combination_of_the_others(tmp_path):
    factors = {**TWO_BY_TWO, "backbone": ["resnetv2_18", "resnetv2_34"]}

    def effect(levels, seed, fold):
        return gains(0.03 if levels["backbone"] == "resnetv2_34" else 0.0)(levels, seed, fold)

    make_study(tmp_path, factors, effect=effect, seeds=8, interactions=[{}])
    shallow, deep = analyse_folder(tmp_path).contrasts.itertuples()
    assert (shallow.within, deep.within) == ("resnetv2_18", "resnetv2_34")
    assert (shallow.verdict == "synergistic", deep.verdict) == (False, "synergistic")


def test_an_interaction_without_enough_runs_is_a_problem(tmp_path):
    def without(run):
        return run.factors["attention"] == "se" and run.factors["activation"] == "elu"

    make_study(tmp_path, TWO_BY_TWO, effect=gains(0), without=without, interactions=[{}])
    found = analyse_folder(tmp_path)
    assert len(found.contrasts) == len(found.interactions) == 0
    assert "attention × activation: too few replications have all four runs of a contrast." in found.problems


def growing(factors, seed, fold):
    """SE gains one point more with each doubling of the training images."""
    gain = 0.03 + 0.01 * np.log2(factors["fraction"])
    return (gain if factors["attention"] == "se" else 0.0) + wobble(factors, seed, fold, 0.001)


def test_slopes_of_gains_by_size_are_tested_over_replications(tmp_path):
    store = make_study(tmp_path, SIZES, effect=growing)
    found = analyse_folder(tmp_path)
    one = only(found.slopes.itertuples())
    assert (one.level, one.baseline, one.least, one.most) == ("se", "none", 2000, 8000)
    gained = []
    for images, fraction in ((2000, 0.25), (4000, 0.5), (8000, 1.0)):
        ours, theirs = (accuracies(store, attention=name, fraction=fraction) for name in ("se", "none"))
        gained.append([ours[seed, 0] - theirs[seed, 0] for seed in range(4)])
        assert found.gains.loc[found.gains["images"] == images, "gain"].tolist() == pytest.approx(gained[-1])
    slopes = [np.polyfit([0, 1, 2], of_seed, 1)[0] for of_seed in zip(*gained, strict=True)]
    assert (one.n, one.mean) == (4, pytest.approx(statistics.fmean(slopes)))
    assert one.p == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue)
    assert one.p_holm < 0.05


def test_every_question_but_that_of_the_fraction_has_slopes(tmp_path):
    make_study(tmp_path, {**SIZES, "activation": ["relu", "elu"]}, effect=growing, seeds=2)
    found = analyse_folder(tmp_path)
    assert set(found.comparisons["factor"]) == {"attention", "activation", "fraction"}
    assert found.slopes[["level", "within"]].to_numpy().tolist() == [
        ["se", "relu"], ["se", "elu"], ["elu", "none"], ["elu", "se"],
    ]  # fmt: skip


def test_a_slope_without_enough_runs_is_a_problem(tmp_path):
    def without(run):
        return run.factors["attention"] == "se" and run.factors["fraction"] < 1

    make_study(tmp_path, SIZES, effect=growing, without=without)
    found = analyse_folder(tmp_path)
    assert len(found.slopes) == 0
    assert any("se by number of images: 0 replication(s)" in one for one in found.problems)
