"""Levels against their baselines, on made-up runs whose differences are known."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats
from study_records import TEST_IMAGES, TWO_BY_TWO, accuracies, make_study, records_of

from fer_attention.study.analysis import analyse_folder
from fer_attention.study.records import PREDICTIONS
from fer_attention.study.statistics import replications_needed

ATTENTION = {"backbone": "resnetv2_18", "attention": ["none", "se", "eca"]}
WOBBLE = (0.0, 0.004, -0.003, 0.006, -0.002)


def gain(factors, seed, fold):
    """SE is 2 points ahead, ECA 0.3 points behind, ELU 1 point ahead; each pair wobbles a little."""
    level = {"none": 0.0, "se": 0.02, "eca": -0.003}[factors["attention"]]
    wobble = 0 if factors["attention"] == "none" else WOBBLE[(seed + fold + len(factors["attention"])) % 5]
    return (
        level + wobble + (0.01 + WOBBLE[(2 * seed + fold) % 5] / 2 if factors["activation"] == "elu" else 0)
    )


def only(items):
    (item,) = items
    return item


def find(comparisons, **levels):
    return only(one for one in comparisons if {"level": one.level, **one.within} == levels)


def differences(store, level, baseline="none", **within):
    """By replication, read past the package."""
    ours = accuracies(store, attention=level, **within)
    theirs = accuracies(store, attention=baseline, **within)
    return {one: ours[one] - theirs[one] for one in sorted(ours.keys() & theirs.keys())}


def holm_by_hand(p_values):
    """Holm 1979: the smallest times n, the next times n - 1, …, never falling."""
    adjusted, highest = {}, 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, p_values[place] * (len(p_values) - rank))
        adjusted[place] = min(1.0, highest)
    return [adjusted[place] for place in range(len(p_values))]


def test_runs_are_paired_by_seed_and_tested_by_t(tmp_path):
    store = make_study(tmp_path, ATTENTION, effect=gain)
    family = only(analyse_folder(tmp_path).families)
    assert (family.factor, family.baseline, family.pooled) == ("attention", "none", ())
    assert [one.label for one in family.single] == ["se - none", "eca - none"]
    for one in family.single:
        ours, theirs = accuracies(store, attention=one.level), accuracies(store, attention="none")
        a, b = ([values[seed, 0] for seed in range(4)] for values in (ours, theirs))
        assert one.paired.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
        assert one.paired.difference == pytest.approx(statistics.fmean(a) - statistics.fmean(b))
        assert one.paired.interval == pytest.approx(stats.ttest_rel(a, b).confidence_interval(0.95))
        assert one.outperforming.probability == np.mean(np.greater(a, b))
        assert (one.corrected, one.unpaired, one.paired.n) == (None, 0, 4)


def test_what_all_runs_of_a_replication_share_is_no_part_of_a_difference(tmp_path):
    store = make_study(tmp_path, ATTENTION, effect=gain)
    assert np.ptp(list(accuracies(store, attention="none").values())) > 0.03
    one = find(only(analyse_folder(tmp_path).families).single, level="se")
    assert one.paired.sd == pytest.approx(statistics.stdev(differences(store, "se").values()))
    assert one.paired.sd < 0.006


def test_known_gains_are_decided_and_none_is_found_where_there_is_none(tmp_path):
    make_study(tmp_path, ATTENTION, effect=gain, seeds=5)
    single = only(analyse_folder(tmp_path).families).single
    assert find(single, level="se").decided
    assert find(single, level="se").paired.difference > 0
    assert not find(single, level="eca").decided


def test_equal_runs_have_no_test_and_decide_nothing(tmp_path):
    make_study(tmp_path, {"backbone": "resnetv2_18", "attention": ["none", "se"]})
    one = only(only(analyse_folder(tmp_path).families).single)
    assert one.paired.difference == one.paired.sd == 0
    assert one.p_holm is one.replications_needed is None
    assert not one.decided


@pytest.mark.parametrize("alpha", [0.001, 0.4])
def test_single_and_pooled_comparisons_are_corrected_apart_and_families_apart(tmp_path, alpha):
    make_study(tmp_path, {**TWO_BY_TWO, "attention": ["none", "se", "eca"]}, effect=gain, alpha=alpha)
    families = analyse_folder(tmp_path).families
    assert [(one.factor, len(one.pooled), len(one.single)) for one in families] == [
        ("attention", 2, 4), ("activation", 1, 3),
    ]  # fmt: skip
    for family in families:
        for together in (family.pooled, family.single):
            expected = holm_by_hand([one.paired.p_t for one in together])
            assert [one.p_holm for one in together] == pytest.approx(expected)
            assert [one.decided for one in together] == [p < alpha for p in expected]
            assert all(one.paired.confidence == 1 - alpha for one in together)


def test_a_pooled_comparison_is_over_the_mean_of_the_other_factors(tmp_path):
    store = make_study(tmp_path, TWO_BY_TWO, effect=gain)
    family = analyse_folder(tmp_path).families[0]
    one = only(family.pooled)
    assert (one.label, one.within, one.unpaired) == ("se - none", {}, 0)
    by_activation = [differences(store, "se", activation=name) for name in ("relu", "elu")]
    means = [statistics.fmean(each[seed, 0] for each in by_activation) for seed in range(4)]
    assert one.paired.difference == pytest.approx(statistics.fmean(means))
    assert one.paired.sd == pytest.approx(statistics.stdev(means))
    assert one.paired.p_t == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert one.images == ()


def test_the_study_s_own_questions_are_asked_and_no_others(tmp_path):
    questions = [{"factor": "attention", "baseline": "eca", "levels": ["se"]}]
    store = make_study(tmp_path, ATTENTION, effect=gain, comparisons=questions)
    one = only(only(analyse_folder(tmp_path).families).single)
    assert one.label == "se - eca"
    expected = differences(store, "se", baseline="eca")
    assert one.paired.difference == pytest.approx(statistics.fmean(expected.values()))


def test_a_swapped_baseline_turns_the_sign(tmp_path):
    two = {"backbone": "resnetv2_18", "attention": ["none", "se"]}
    found = []
    for number, baseline in enumerate(("none", "se")):
        questions = [{"factor": "attention", "baseline": baseline}]
        make_study(tmp_path / f"{number}", two, effect=gain, comparisons=questions)
        found.append(only(only(analyse_folder(tmp_path / f"{number}").families).single))
    one, other = found
    assert one.paired.difference == pytest.approx(-other.paired.difference)
    assert one.p_holm == pytest.approx(other.p_holm)
    assert [t.test.only_a for t in one.images] == [t.test.only_b for t in other.images]


def test_runs_that_lack_their_partner_are_left_out_and_counted(tmp_path):
    def without(run):
        key = run.factors["attention"], run.factors["activation"], run.seed
        return key in {("se", "elu", 1), ("none", "elu", 2)}

    store = make_study(tmp_path, TWO_BY_TWO, effect=gain, without=without, seeds=5)
    family = analyse_folder(tmp_path).families[0]
    with_elu = find(family.single, level="se", activation="elu")
    assert (with_elu.paired.n, with_elu.unpaired) == (3, 2)
    expected = differences(store, "se", activation="elu")
    assert sorted(expected) == [(0, 0), (3, 0), (4, 0)]
    assert with_elu.paired.difference == pytest.approx(statistics.fmean(expected.values()))
    assert find(family.single, level="se", activation="relu").unpaired == 0
    # Pooled, a replication without ELU's pair would be a mean of other conditions: its other runs go too.
    pooled = only(family.pooled)
    with_relu = differences(store, "se", activation="relu")
    means = [(expected[one] + with_relu[one]) / 2 for one in expected]
    assert (pooled.paired.n, pooled.unpaired) == (3, 2 + 4)
    assert pooled.paired.difference == pytest.approx(statistics.fmean(means))


def test_a_level_with_one_pair_is_left_out_of_its_family_and_named(tmp_path):
    def without(run):
        return run.factors["attention"] == "se" and run.seed > 0

    make_study(tmp_path, ATTENTION, effect=gain, without=without)
    analysis = analyse_folder(tmp_path)
    one = only(only(analysis.families).single)
    assert one.level == "eca"
    assert one.p_holm == one.paired.p_t  # the only one of its family that is left
    assert "se - none: 1 pair(s) of runs, too few to compare." in analysis.problems


def test_runs_of_one_seed_are_no_family(tmp_path):
    make_study(tmp_path, ATTENTION, effect=gain, seeds=1)
    analysis = analyse_folder(tmp_path)
    assert analysis.families == ()
    assert len([one for one in analysis.problems if "too few to compare" in one]) == 2


def test_folds_of_one_set_go_by_the_corrected_test(tmp_path):
    store = make_study(tmp_path, ATTENTION, effect=gain, seeds=2, folds=3)
    single = only(analyse_folder(tmp_path).families).single
    raw = []
    for one in single:
        values = list(differences(store, one.level).values())
        assert one.paired.n == len(values) == 6
        sizes = records_of(store)[0]["data"]
        factor = 1 / 6 + sizes["test_images"] / sizes["train_images"]
        error = math.sqrt(factor * statistics.variance(values))
        raw.append(2 * stats.t.sf(abs(statistics.fmean(values)) / error, 5))
        assert one.corrected.variance_factor == pytest.approx(factor)
        assert one.corrected.p == pytest.approx(raw[-1])
        assert one.corrected.p > one.paired.p_t
        assert one.corrected.difference == pytest.approx(one.paired.difference)
    assert [one.p_holm for one in single] == pytest.approx(holm_by_hand(raw))


def test_the_corrected_test_takes_the_mean_sizes_of_the_runs(tmp_path):
    def change(record, run):
        record["data"]["train_images"] = 900 + 100 * run.fold
        record["data"]["test_images"] = 100 + 50 * run.fold

    make_study(tmp_path, ATTENTION, effect=gain, seeds=2, folds=3, change=change)
    one = only(analyse_folder(tmp_path).families).single[0]
    assert one.corrected.variance_factor == pytest.approx(1 / 6 + 150 / 1000)


def test_a_fold_is_never_paired_with_another(tmp_path):
    def without(run):
        return (run.factors["attention"], run.fold) in {("none", 0), ("se", 1)}

    make_study(tmp_path, ATTENTION, effect=gain, seeds=2, folds=4, without=without)
    one = find(only(analyse_folder(tmp_path).families).single, level="se")
    assert (one.paired.n, one.unpaired) == (4, 4)


def test_needed_replications_are_for_the_study_s_margin(tmp_path):
    make_study(tmp_path, ATTENTION, effect=gain, margin=0.002)
    one = only(analyse_folder(tmp_path).families).single[0]
    assert one.replications_needed == replications_needed(one.paired.sd, 0.002) > 4


def correct_of(store, attention, seed):
    run = only(
        one for one in store.manifest().runs if one.factors["attention"] == attention and one.seed == seed
    )
    with np.load(store.run_folder(run.id) / PREDICTIONS) as file:
        return (file["predicted"] == file["labels"]).tolist()


def test_images_are_compared_one_by_one_in_each_replication(tmp_path):
    store = make_study(tmp_path, ATTENTION, effect=gain, seeds=3, alpha=0.1)
    one = find(only(analyse_folder(tmp_path).families).single, level="se")
    assert [(each.seed, each.fold) for each in one.images] == [(0, 0), (1, 0), (2, 0)]
    for each in one.images:
        answers = list(
            zip(correct_of(store, "se", each.seed), correct_of(store, "none", each.seed), strict=True)
        )
        counts = [
            answers.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
        ]
        assert [each.test.both, each.test.only_a, each.test.only_b, each.test.neither] == counts
        apart = counts[1] + counts[2]
        chi2 = (abs(counts[1] - counts[2]) - 1) ** 2 / apart
        assert each.test.p == pytest.approx(stats.chi2.sf(chi2, 1))
        assert each.test.confidence == 0.9


def test_runs_on_other_test_images_are_not_compared_by_image_and_that_is_said(tmp_path):
    usual = [f"face {number}" for number in range(TEST_IMAGES)]

    def names(run):
        return usual[::-1] if run.factors["attention"] == "se" and run.seed == 1 else usual

    make_study(tmp_path, ATTENTION, effect=gain, seeds=3, names=names)
    analysis = analyse_folder(tmp_path)
    single = only(analysis.families).single
    assert [each.seed for each in find(single, level="se").images] == [0, 2]
    assert [each.seed for each in find(single, level="eca").images] == [0, 1, 2]
    assert find(single, level="se").paired.n == 3
    problem = only(analysis.problems)
    assert all(word in problem for word in ("resnetv2_18_se", "seed 1", "test images differ"))


def test_data_sets_with_other_folds_are_pooled_over_seeds(tmp_path):
    store = make_study(
        tmp_path,
        {"backbone": "vgg11", "attention": ["none", "se"]},
        data=("fer2013", "jaffe"),
        seeds=4,
        folds=3,
        effect=lambda factors, seed, fold: 0.01 * (factors["attention"] == "se") * (1 + seed),
        without=lambda run: run.factors["data"] == "fer2013" and run.fold > 0,
    )
    pooled = next(one for one in analyse_folder(tmp_path).families if one.factor == "attention").pooled[0]

    def gained(name, seed, fold):
        ours, theirs = (accuracies(store, data=name, attention=level) for level in ("se", "none"))
        return ours[seed, fold] - theirs[seed, fold]

    values = [
        statistics.fmean(
            [
                gained("fer2013", seed, 0),
                statistics.fmean(gained("jaffe", seed, fold) for fold in range(3)),
            ]
        )
        for seed in range(4)
    ]
    assert (pooled.paired.n, pooled.corrected, pooled.unpaired) == (4, None, 0)
    assert pooled.paired.difference == pytest.approx(statistics.fmean(values))
    assert pooled.paired.p_t == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_divisions_that_are_drawn_by_seed_share_training_images(tmp_path):
    make_study(
        tmp_path,
        {"backbone": "vgg11", "attention": ["none", "se"]},
        replications={"seeds": 4, "vary": ["initialisation", "folds"]},
        change=lambda record, run: record["data"].update(protocol="holdout"),
    )
    (one,) = analyse_folder(tmp_path).families[0].single
    assert one.corrected is not None
    assert one.p_holm == one.corrected.p
