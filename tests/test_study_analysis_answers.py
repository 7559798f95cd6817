"""Interactions, training sizes, ranks and trade-offs, on made-up runs in which they are known."""

import itertools
import statistics

import numpy as np
import pytest
from scipy import stats
from study_records import TWO_BY_TWO, accuracies, make_study, records_of

from fer_attention.study.analysis import analyse_folder

SETS = ("fer2013", "ckplus", "jaffe")
FOUR = {"backbone": "resnetv2_18", "attention": ["none", "se", "eca", "cbam"]}
SIZES = {"backbone": "resnetv2_18", "attention": ["none", "se"], "fraction": [1.0, 0.25, 0.5]}


def only(items):
    (item,) = items
    return item


def wobble(factors, seed, fold, size=0.002):
    """A little noise of a run's own, the same in every call."""
    words = [str(value) for value in (*factors.values(), seed, fold)]
    return size * float(np.random.default_rng([*"/".join(words).encode()]).standard_normal())


def gains(together, size=0.002):
    """SE brings 2 points, ELU 1, and both `together` beyond that."""

    def effect(factors, seed, fold):
        se, elu = factors["attention"] == "se", factors["activation"] == "elu"
        return 0.02 * se + 0.01 * elu + together * (se and elu) + wobble(factors, seed, fold, size)

    return effect


@pytest.mark.parametrize(
    ("together", "size", "verdicts"),
    [
        (0.03, 0.002, {"synergistic"}),
        (-0.03, 0.002, {"antagonistic"}),
        (0.0, 0.002, {"additive", "undecided"}),
        (0.0, 0.03, {"undecided"}),  # too much noise to say that there is none
    ],
)
def test_an_interaction_is_found_where_there_is_one_and_only_there(tmp_path, together, size, verdicts):
    make_study(tmp_path, TWO_BY_TWO, effect=gains(together, size), seeds=8, interactions=[{}])
    found = only(analyse_folder(tmp_path).interactions)
    contrast = only(found.analysis.interactions)
    assert contrast.verdict in verdicts
    assert (contrast.first, contrast.second) == ("se", "elu")
    assert (found.within, found.analysis.blocks) == ({}, 8)


def test_an_interaction_goes_by_seeds_whose_folds_are_averaged(tmp_path):
    store = make_study(
        tmp_path, TWO_BY_TWO, effect=gains(0.01), seeds=3, folds=2, interactions=[{}], margin=0.004, alpha=0.1
    )
    runs = {
        cell: accuracies(store, attention=cell[0], activation=cell[1])
        for cell in itertools.product(("none", "se"), ("relu", "elu"))
    }
    values = [
        statistics.fmean(
            runs["se", "elu"][seed, fold]
            - runs["se", "relu"][seed, fold]
            - runs["none", "elu"][seed, fold]
            + runs["none", "relu"][seed, fold]
            for fold in range(2)
        )
        for seed in range(3)
    ]
    analysis = only(analyse_folder(tmp_path).interactions).analysis
    contrast = only(analysis.interactions)
    assert contrast.mean == pytest.approx(statistics.fmean(values))
    assert contrast.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert (contrast.n, analysis.blocks, analysis.runs, analysis.margin) == (3, 3, 12, 0.004)
    assert analysis.confidence == 0.9


def test_the_first_level_of_the_file_is_the_baseline_whichever_run_comes_first(tmp_path):
    factors = {**TWO_BY_TWO, "attention": ["se", "none"], "activation": ["relu", "elu"]}

    def without(run):
        return run.seed == 0 and run.factors["attention"] == "se"

    make_study(tmp_path, factors, effect=gains(0.03), without=without, interactions=[{}])
    contrast = only(only(analyse_folder(tmp_path).interactions).analysis.interactions)
    assert (contrast.first_baseline, contrast.first, contrast.n, contrast.dropped) == ("se", "none", 3, 1)
    assert contrast.mean == pytest.approx(-0.03, abs=0.01)


def test_interactions_are_looked_for_within_each_combination_of_the_others(tmp_path):
    factors = {**TWO_BY_TWO, "backbone": ["resnetv2_18", "resnetv2_34"]}

    def effect(levels, seed, fold):
        return gains(0.03 if levels["backbone"] == "resnetv2_34" else 0.0)(levels, seed, fold)

    make_study(tmp_path, factors, effect=effect, seeds=8, interactions=[{}])
    shallow, deep = analyse_folder(tmp_path).interactions
    assert (shallow.within, deep.within) == ({"backbone": "resnetv2_18"}, {"backbone": "resnetv2_34"})
    assert only(deep.analysis.interactions).verdict == "synergistic"
    assert only(shallow.analysis.interactions).verdict in {"additive", "undecided"}


def test_an_interaction_that_cannot_be_looked_for_is_a_problem(tmp_path):
    def without(run):
        return run.factors["attention"] == "se" and run.factors["activation"] == "elu"

    make_study(tmp_path, TWO_BY_TWO, effect=gains(0), without=without, interactions=[{}])
    analysis = analyse_folder(tmp_path)
    assert analysis.interactions == ()
    assert any("attention × activation" in one and "never occurs" in one for one in analysis.problems)


def growing(factors, seed, fold):
    """SE brings a point more with each doubling of the training images."""
    gain = 0.03 + 0.01 * np.log2(factors["fraction"])
    return (gain if factors["attention"] == "se" else 0.0) + wobble(factors, seed, fold, 0.001)


def test_gains_are_set_against_the_number_of_training_images(tmp_path):
    store = make_study(tmp_path, SIZES, effect=growing)
    found = only(analyse_folder(tmp_path).sizes)
    assert (found.factor, found.level, found.baseline, found.within) == ("attention", "se", "none", {})
    assert found.images == (2000, 4000, 8000)
    for fraction, gained in zip((0.25, 0.5, 1.0), found.gains, strict=True):
        ours, theirs = (accuracies(store, attention=name, fraction=fraction) for name in ("se", "none"))
        assert gained == pytest.approx([ours[seed, 0] - theirs[seed, 0] for seed in range(4)])
    slopes = [np.polyfit([0, 1, 2], [gained[seed] for gained in found.gains], 1)[0] for seed in range(4)]
    assert found.curve.slope == pytest.approx(statistics.fmean(slopes))
    assert found.curve.p == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue)
    assert (found.curve.direction, found.curve.replications) == ("grows", 4)


def test_a_gain_that_stays_is_not_said_to_change(tmp_path):
    make_study(tmp_path, SIZES, effect=lambda factors, *run: 0.02 * (factors["attention"] == "se") + wobble(
        factors, *run
    ))  # fmt: skip
    assert not only(analyse_folder(tmp_path).sizes).curve.decided


def test_sizes_are_given_for_every_question_but_that_of_the_fraction_itself(tmp_path):
    factors = {**SIZES, "activation": ["relu", "elu"]}
    make_study(tmp_path, factors, effect=growing, seeds=2)
    analysis = analyse_folder(tmp_path)
    assert {one.factor for one in analysis.families} == {"attention", "activation", "fraction"}
    assert [(one.factor, one.level, dict(one.within)) for one in analysis.sizes] == [
        ("attention", "se", {"activation": "relu"}),
        ("attention", "se", {"activation": "elu"}),
        ("activation", "elu", {"attention": "none"}),
        ("activation", "elu", {"attention": "se"}),
    ]
    assert not any("Gain by number of images" in one for one in analysis.problems)


def test_one_fraction_has_no_curve(tmp_path):
    make_study(tmp_path, FOUR, seeds=2)
    assert analyse_folder(tmp_path).sizes == ()


def test_a_curve_that_lacks_its_runs_is_a_problem(tmp_path):
    def without(run):
        return run.factors["attention"] == "se" and run.factors["fraction"] < 1

    make_study(tmp_path, SIZES, effect=growing, without=without)
    analysis = analyse_folder(tmp_path)
    assert analysis.sizes == ()
    assert any("Gain by number of images" in one for one in analysis.problems)


ORDER = {"none": 0.0, "se": 0.02, "eca": 0.01, "cbam": 0.03}


def ranked(factors, seed, fold):
    """CBAM is best but on JAFFE, where it is worst."""
    if factors["data"] == "jaffe" and factors["attention"] == "cbam":
        return -0.05
    return ORDER[factors["attention"]]


@pytest.mark.parametrize("count", [2, 3])
def test_few_data_sets_give_ranks_and_no_verdict(tmp_path, count):
    make_study(tmp_path, FOUR, effect=ranked, seeds=2, data=SETS[:count])
    found = only(analyse_folder(tmp_path).ranks)
    assert (found.factor, found.levels) == ("attention", ("none", "se", "eca", "cbam"))
    assert found.data == SETS[:count]
    expected = [4, 2, 3, 1] if count == 2 else [(4 + 4 + 3) / 3, 5 / 3, 8 / 3, 2]
    assert found.friedman.mean_ranks == pytest.approx(expected)
    assert not found.friedman.can_decide
    assert found.friedman.why
    assert found.friedman.p is None


def test_one_data_set_has_no_ranks_and_data_itself_is_not_ranked(tmp_path):
    make_study(tmp_path / "one", FOUR, effect=ranked, seeds=2)
    assert analyse_folder(tmp_path / "one").ranks == ()
    make_study(tmp_path / "sets", {"backbone": "resnetv2_18"}, seeds=2, data=SETS)
    assert analyse_folder(tmp_path / "sets").ranks == ()


def test_ranks_go_by_runs_that_all_levels_have(tmp_path):
    """SE's runs with the weak backbone are missing; it does not rank higher for that."""
    factors = {**FOUR, "backbone": ["resnetv2_18", "resnetv2_34"]}

    def effect(levels, seed, fold):
        return ranked(levels, seed, fold) + 0.2 * (levels["backbone"] == "resnetv2_34")

    def without(run):
        return run.factors["attention"] == "eca" and run.factors["backbone"] == "resnetv2_18"

    make_study(tmp_path, factors, effect=effect, seeds=2, data=SETS[:2], without=without)
    found = {one.factor: one for one in analyse_folder(tmp_path).ranks}
    assert found["attention"].friedman.mean_ranks == (4, 2, 3, 1)
    assert found["backbone"].friedman.mean_ranks == (2, 1)


def test_ranks_without_matched_runs_are_a_problem(tmp_path):
    def without(run):
        return run.factors["data"] == "ckplus" and run.factors["attention"] == "se"

    make_study(tmp_path, FOUR, effect=ranked, seeds=2, data=SETS[:2], without=without)
    analysis = analyse_folder(tmp_path)
    assert analysis.ranks == ()
    assert any("Ranks of attention" in one for one in analysis.problems)


COSTS = ("parameters", "macs", "train_seconds", "latency_ms")


def test_trade_offs_are_what_no_other_beats_within_a_data_set_and_the_largest_fraction(tmp_path):
    generator = np.random.default_rng(1)

    def change(record, run):
        for cost in COSTS:
            record["cost"][cost] = int(generator.integers(1, 6))

    factors = {**FOUR, "activation": ["relu", "elu"], "fraction": [0.5, 1.0]}
    store = make_study(
        tmp_path, factors, effect=lambda *run: wobble(*run, 0.02), seeds=1, data=SETS[:2], change=change
    )
    records = [one for one in records_of(store) if one["factors"]["fraction"] == 1]
    expected = {}
    for one in records:
        rivals = [other for other in records if other["data"]["name"] == one["data"]["name"]]
        expected[one["id"]] = tuple(
            cost for cost in COSTS if not any(beats(other, one, cost) for other in rivals)
        )
    found = {only(point.condition.runs).id: point.on_front for point in analyse_folder(tmp_path).pareto}
    assert found == expected
    assert 0 < sum(map(bool, found.values())) < len(found) == 16


def beats(one, other, cost):
    gains = one["test"]["accuracy"] - other["test"]["accuracy"], other["cost"][cost] - one["cost"][cost]
    return min(gains) >= 0 and max(gains) > 0


def test_folds_of_a_single_seed_are_used_and_warned_of(tmp_path):
    make_study(tmp_path, TWO_BY_TWO, seeds=1, folds=3, interactions=[{}])
    found = analyse_folder(tmp_path)
    assert only(found.interactions).analysis.blocks == 3
    assert any("p-values are too small" in problem for problem in found.problems)
