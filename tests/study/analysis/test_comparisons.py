"""Comparisons of levels with their baselines, on synthetic runs with known differences."""

import math
import statistics

import numpy as np
import pytest

pytest.importorskip("statsmodels")

from scipy import stats  # noqa: E402

from fer_attention.study.analysis import analyse_folder  # noqa: E402
from fer_attention.study.analysis.statistics import holm  # noqa: E402
from tests.support.study_records import TWO_BY_TWO, accuracies, make_study, only  # noqa: E402

ATTENTION = {"backbone": "resnetv2_18", "attention": ["none", "se", "eca"]}
TWO = {"backbone": "vgg11", "attention": ["none", "se"]}
WOBBLE = (0.0, 0.004, -0.003, 0.006, -0.002)


def gain(factors, seed, fold):
    """SE gains 2 points, ECA loses 0.3, ELU gains 1; each pair has a little noise."""
    level = {"none": 0.0, "se": 0.02, "eca": -0.003}[factors["attention"]]
    wobble = 0 if factors["attention"] == "none" else WOBBLE[(seed + fold + len(factors["attention"])) % 5]
    return (
        level + wobble + (0.01 + WOBBLE[(2 * seed + fold) % 5] / 2 if factors["activation"] == "elu" else 0)
    )


def compared(folder, **values):
    """Return the rows of the comparisons with these values."""
    frame = analyse_folder(folder).comparisons
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return list(frame.itertuples())


def differences(store, level, baseline="none", **within):
    """Return the differences by replication, read without the package."""
    ours = accuracies(store, attention=level, **within)
    theirs = accuracies(store, attention=baseline, **within)
    return {one: ours[one] - theirs[one] for one in sorted(ours.keys() & theirs.keys())}


def test_runs_are_paired_by_seed_so_that_shared_effects_cancel(tmp_path):
    store = make_study(tmp_path, ATTENTION, effect=gain)
    assert np.ptp(list(accuracies(store, attention="none").values())) > 0.03
    rows = compared(tmp_path)
    assert [(one.label, one.pooled, one.within) for one in rows] == [
        ("se - none", True, ""), ("eca - none", True, ""),
    ]  # fmt: skip
    for one in rows:
        values = list(differences(store, one.level).values())
        assert (one.n, one.unpaired, one.corrected) == (4, 0, False)
        assert one.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
        assert one.mean == pytest.approx(statistics.fmean(values))
        assert one.sd == pytest.approx(statistics.stdev(values))
        assert one.sd < 0.006


def test_known_gains_are_detected_and_absent_ones_are_not(tmp_path):
    make_study(tmp_path, ATTENTION, effect=gain, seeds=5)
    se, eca = compared(tmp_path)
    assert (se.verdict, eca.verdict) == ("better", "undecided")
    assert se.not_worse
    assert not eca.not_worse


@pytest.mark.parametrize(
    ("lead", "noise", "verdict"),
    [
        (0.02, 0.001, "better"),
        (-0.02, 0.001, "worse"),
        (0.0, 0.001, "equivalent"),
        (0.004, 0.004, "not worse"),
        (0.0, 0.01, "undecided"),
    ],
)
def test_verdicts_depend_on_interval_and_margin(tmp_path, lead, noise, verdict):
    signs = (1, -1, 1, -1, 0)

    def effect(factors, seed, fold):
        return (lead + noise * signs[seed]) * (factors["attention"] == "se")

    store = make_study(tmp_path, TWO, effect=effect, seeds=5, margin=0.005)
    one = only(compared(tmp_path))
    assert one.verdict == verdict
    values = list(differences(store, "se").values())
    not_worse = stats.ttest_1samp(values, -0.005, alternative="greater").pvalue
    not_better = stats.ttest_1samp(values, 0.005, alternative="less").pvalue
    assert (one.p_not_worse, one.p_equivalent) == pytest.approx((not_worse, max(not_worse, not_better)))


def test_a_gain_below_the_margin_can_be_better_and_equivalent(tmp_path):
    def effect(factors, seed, fold):
        return (0.003 + 0.001 * (seed % 2)) * (factors["attention"] == "se")

    make_study(tmp_path, TWO, effect=effect, seeds=5, margin=0.01)
    one = only(compared(tmp_path))
    assert (one.verdict, one.equivalent, one.not_worse) == ("better", True, True)


def test_equal_runs_are_undecided(tmp_path):
    make_study(tmp_path, TWO)
    one = only(compared(tmp_path))
    assert one.mean == one.sd == 0
    assert math.isnan(one.p_holm)
    assert one.verdict == "undecided"


def test_pooled_and_single_comparisons_are_corrected_separately(tmp_path):
    make_study(tmp_path, {**TWO_BY_TWO, "attention": ["none", "se", "eca"]}, effect=gain, margin=0.01)
    frame = analyse_folder(tmp_path).comparisons
    groups = {key: len(group) for key, group in frame.groupby(["family", "factor", "pooled"])}
    assert groups == {
        (1, "attention", True): 2, (1, "attention", False): 4,
        (2, "activation", True): 1, (2, "activation", False): 3,
    }  # fmt: skip
    for _, group in frame.groupby(["family", "pooled"]):
        assert group["p_holm"].tolist() == pytest.approx(holm(group["p"]))
        error = group["sd"] / np.sqrt(group["n"])
        raw = stats.t.sf((group["mean"] + 0.01) / error, group["n"] - 1)
        assert group["p_not_worse"].tolist() == pytest.approx(holm(raw))


def test_pooled_comparisons_average_over_the_other_factors(tmp_path):
    store = make_study(tmp_path, TWO_BY_TWO, effect=gain)
    one = only(compared(tmp_path, factor="attention", pooled=True))
    by_activation = [differences(store, "se", activation=name) for name in ("relu", "elu")]
    means = [statistics.fmean(each[seed, 0] for each in by_activation) for seed in range(4)]
    assert (one.label, one.unpaired, one.mean) == ("se - none", 0, pytest.approx(statistics.fmean(means)))
    assert one.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_swapping_level_and_baseline_flips_the_sign(tmp_path):
    found = []
    for level, baseline in (("se", "eca"), ("eca", "se")):
        questions = [{"factor": "attention", "baseline": baseline, "levels": [level]}]
        store = make_study(tmp_path / level, ATTENTION, effect=gain, comparisons=questions)
        found.append(only(compared(tmp_path / level)))
    assert [one.label for one in found] == ["se - eca", "eca - se"]
    assert found[0].mean == pytest.approx(statistics.fmean(differences(store, "se", "eca").values()))
    assert (found[0].mean, found[0].low) == pytest.approx((-found[1].mean, -found[1].high))


def test_runs_without_a_partner_are_excluded_and_counted(tmp_path):
    def without(run):
        key = run.factors["attention"], run.factors["activation"], run.seed
        return key in {("se", "elu", 1), ("none", "elu", 2)}

    store = make_study(tmp_path, TWO_BY_TWO, effect=gain, without=without, seeds=5)
    with_elu = only(compared(tmp_path, factor="attention", within="elu"))
    expected = differences(store, "se", activation="elu")
    assert sorted(expected) == [(0, 0), (3, 0), (4, 0)]
    assert (with_elu.n, with_elu.unpaired) == (3, 2)
    assert with_elu.mean == pytest.approx(statistics.fmean(expected.values()))
    # Pooled, a replication without ELU's pair would be a mean of other conditions: its other runs go too.
    pooled = only(compared(tmp_path, factor="attention", pooled=True))
    with_relu = differences(store, "se", activation="relu")
    means = [(expected[one] + with_relu[one]) / 2 for one in expected]
    assert (pooled.n, pooled.unpaired, pooled.mean) == (3, 2 + 4, pytest.approx(statistics.fmean(means)))


def test_a_level_with_one_pair_is_excluded_and_named(tmp_path):
    def without(run):
        return run.factors["attention"] == "se" and run.seed > 0

    make_study(tmp_path, ATTENTION, effect=gain, without=without)
    one = only(compared(tmp_path))
    assert (one.level, one.p_holm) == ("eca", one.p)  # the only remaining one of its family
    assert "se - none: 1 pair(s) of runs, too few for a comparison." in analyse_folder(tmp_path).problems


def test_reading_twice_gives_the_same_problems(tmp_path):
    make_study(tmp_path, ATTENTION, effect=gain, seeds=1)
    one, other = analyse_folder(tmp_path), analyse_folder(tmp_path)
    assert len(one.comparisons) == 0
    assert one.problems == other.problems
    assert len([problem for problem in one.problems if "too few for a comparison" in problem]) == 2


def test_folds_of_one_data_set_use_the_corrected_test(tmp_path):
    def change(record, run):
        record["data"]["train_images"] = 900 + 100 * run.fold
        record["data"]["test_images"] = 100 + 50 * run.fold

    store = make_study(tmp_path, ATTENTION, effect=gain, seeds=2, folds=3, change=change)
    for one in compared(tmp_path):
        values = list(differences(store, one.level).values())
        error = math.sqrt((1 / 6 + 150 / 1000) * statistics.variance(values))
        assert (one.n, one.corrected) == (6, True)
        assert one.p == pytest.approx(2 * stats.t.sf(abs(statistics.fmean(values)) / error, 5))
        assert one.p > stats.ttest_1samp(values, 0).pvalue


def test_a_fold_is_never_paired_with_another(tmp_path):
    def without(run):
        return (run.factors["attention"], run.fold) in {("none", 0), ("se", 1)}

    make_study(tmp_path, TWO, effect=gain, seeds=2, folds=4, without=without)
    one = only(compared(tmp_path))
    assert (one.n, one.unpaired) == (4, 4)


def test_data_sets_with_different_folds_are_pooled_over_seeds(tmp_path):
    store = make_study(
        tmp_path, TWO, data=("fer2013", "jaffe"), seeds=4, folds=3,
        effect=lambda factors, seed, fold: 0.01 * (factors["attention"] == "se") * (1 + seed),
        without=lambda run: run.factors["data"] == "fer2013" and run.fold > 0,
    )  # fmt: skip
    one = only(compared(tmp_path, factor="attention", pooled=True))
    official, folds = (differences(store, "se", data=name) for name in ("fer2013", "jaffe"))
    means = [statistics.fmean(folds[seed, fold] for fold in range(3)) for seed in range(4)]
    values = [(official[seed, 0] + means[seed]) / 2 for seed in range(4)]
    assert (one.n, one.corrected, one.unpaired) == (4, False, 0)
    assert one.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@pytest.mark.parametrize(("protocol", "options"), [("holdout", {}), ("subject_kfold", {"shuffle": True})])
def test_random_divisions_use_the_corrected_test(tmp_path, protocol, options):
    def change(record, run):
        record["data"] |= {"protocol": protocol, "protocol_options": options}

    replications = {"seeds": 4, "vary": ["initialisation", "folds"]}
    make_study(tmp_path, TWO, effect=gain, replications=replications, change=change)
    assert only(compared(tmp_path)).corrected


def test_the_best_condition_is_compared_with_the_others(tmp_path):
    make_study(tmp_path, ATTENTION, effect=gain, seeds=5)
    best = only(analyse_folder(tmp_path).best.itertuples())
    assert (best.condition, best.others, best.alike) == ("se", 2, 0)


def test_conditions_without_spread_are_not_distinguished(tmp_path):
    make_study(tmp_path, TWO, effect=lambda factors, *_: 0.1 * (factors["attention"] == "se"))
    best = only(analyse_folder(tmp_path).best.itertuples())
    assert (best.condition, best.others, best.alike) == ("se", 1, 1)


def test_cost_ratios_are_medians_over_matched_conditions(tmp_path):
    slow = {("se", "relu"): 1.5, ("se", "elu"): 2.5, ("none", "elu"): 2.0}

    def change(record, run):
        factor = slow.get((run.factors["attention"], run.factors["activation"]), 1.0)
        record["cost"] |= {"train_seconds": 60 * factor, "images_per_second": 100 / factor}

    make_study(tmp_path, TWO_BY_TWO, effect=gain, change=change)
    se, elu = analyse_folder(tmp_path).costs.itertuples()
    assert (se.level, se.baseline, se.pairs) == ("se", "none", 2)
    assert (se.train_seconds, se.seconds_per_image, se.parameters) == pytest.approx((1.375, 1.375, 1))
    assert elu.train_seconds == pytest.approx(statistics.median([2, 2.5 / 1.5]))
    assert se.mean == only(compared(tmp_path, factor="attention", pooled=True)).mean
