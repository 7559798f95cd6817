"""The summary of a study's report: every number that it prints is one that it carries."""

import re

import pytest
from study_analyses import TWO_BY_TWO, make_analysis, make_study

from fer_attention.study.records import SetAside
from fer_attention.study.report import sentences
from fer_attention.study.report.best import best_conditions

NUMBER = re.compile(r"[+\N{MINUS SIGN}]?\d[\d,]*(?:\.\d+)?")
GAINS = {"none": 0.0, "se": 0.03, "relu": 0.0, "elu": 0.01}


def gain(factors):
    return GAINS.get(factors["attention"], 0) + GAINS[factors["activation"]]


STUDIES = {
    "two by two": (make_study(**TWO_BY_TWO), {"gain": gain}),
    "without any effect": (make_study(**TWO_BY_TWO), {}),
    "sizes": (
        make_study(factors={**TWO_BY_TWO["factors"], "activation": "elu", "fraction": [0.1, 0.3, 1.0]}),
        {"gain": lambda factors: gain(factors) * (1.2 - factors["fraction"])},
    ),
    "folds of two sets": (
        make_study(**{**TWO_BY_TWO, "data": {"fer2013": {}, "a set, 2": {}}}),
        {"seeds": 2, "folds": 3, "gain": gain},
    ),
    "one run each": (make_study(**TWO_BY_TWO), {"seeds": 1}),
    "one condition": (make_study(factors={"backbone": "vgg11"}), {}),
    "all runs alike": (
        make_study(factors={"backbone": "vgg11", "attention": ["none", "se"]}),
        {"noise": 0.0, "gain": gain},
    ),
    "failures": (
        make_study(**TWO_BY_TWO),
        {
            "changes": {
                "failed": (("run 7", "it diverged at epoch 9"),),
                "missing": ("run 8",),
                "foreign": 2,
                "problems": ("two environments: threads 1 and 2",),
                "warnings": (("run 1", "a warning"), ("run 1", "another")),
            },
        },
    ),
}


@pytest.fixture(params=STUDIES)
def analysis(request):
    study, options = STUDIES[request.param]
    return make_analysis(study, **options)


def printed(sentence):
    """The numbers in the text, names left out."""
    text = sentence.text
    for name in sorted(sentence.names.values(), key=len, reverse=True):
        text = text.replace(name, " ")
    return NUMBER.findall(text)


def stands_for(number, value):
    """Whether a printed number is a value, as it is or in %, rounded; signs need not be printed."""
    shown = abs(float(number.lstrip("+\N{MINUS SIGN}").replace(",", "")))
    if number == "0.001" and 0 <= value < 0.001:  # < 0.001
        return True
    half = 0.5 * 10.0 ** -len(number.partition(".")[2]) + 1e-9
    signed = number[0] in "+\N{MINUS SIGN}"
    if signed and (value < 0) != (number[0] == "\N{MINUS SIGN}"):
        return False
    return any(abs(abs(value * scale) - shown) <= half for scale in (1, 100))


def by_topic(made):
    topics = {}
    for sentence in made:
        topics.setdefault(sentence.topic, []).append(sentence)
    return topics


def test_every_number_that_is_printed_is_carried_and_every_one_carried_is_printed(analysis):
    for sentence in sentences(analysis):
        shown = printed(sentence)
        for number in shown:
            assert any(stands_for(number, value) for value in sentence.numbers.values()), sentence
        for name, value in sentence.numbers.items():
            assert any(stands_for(number, value) for number in shown), (name, sentence)
        assert "{" not in sentence.text
        assert "None" not in sentence.text
        assert "nan" not in sentence.text


def test_a_wrong_number_would_be_noticed():
    assert stands_for("+1.23", 0.01234)
    assert not stands_for("+1.24", 0.01234)
    assert not stands_for("+1.23", -0.01234)
    assert stands_for("\N{MINUS SIGN}1.23", -0.01234)


def test_comparisons_say_what_the_analysis_decided():
    analysis = make_analysis(make_study(**TWO_BY_TWO), gain=gain)
    attention = analysis.families[0].pooled[0]
    sentence = by_topic(sentences(analysis))["Differences of accuracy"][0]
    assert sentence.text.startswith("se - none: +")
    assert sentence.numbers["difference"] == attention.paired.difference
    assert (sentence.numbers["low"], sentence.numbers["high"]) == attention.paired.interval
    assert sentence.numbers["p"] == attention.p_holm
    assert attention.decided
    assert sentence.text.endswith("decided, se is ahead.")


def test_an_undecided_comparison_says_how_many_replications_would_decide():
    analysis = make_analysis(make_study(**TWO_BY_TWO))
    one = analysis.families[0].pooled[0]
    sentence = by_topic(sentences(analysis))["Differences of accuracy"][0]
    assert not one.decided
    assert sentence.numbers["needed"] == one.replications_needed
    assert "not decided; about" in sentence.text


def test_a_level_that_is_decidedly_worse_is_said_to_be_behind():
    analysis = make_analysis(make_study(**TWO_BY_TWO), gain=lambda factors: -gain(factors))
    assert "se is behind" in by_topic(sentences(analysis))["Differences of accuracy"][0].text


def test_folds_are_quoted_by_the_corrected_test():
    study = make_study(factors=TWO_BY_TWO["factors"])
    analysis = make_analysis(study, seeds=1, folds=5, gain=gain)
    one = analysis.families[0].pooled[0]
    sentence = by_topic(sentences(analysis))["Differences of accuracy"][0]
    assert (sentence.numbers["low"], sentence.numbers["high"]) == one.corrected.interval
    assert one.corrected.interval != one.paired.interval


def test_interactions_give_their_verdicts():
    analysis = make_analysis(
        make_study(**TWO_BY_TWO),
        gain=lambda factors: 0.08 * (factors["attention"] == "se") * (factors["activation"] == "elu"),
    )
    contrast = analysis.interactions[0].analysis.interactions[0]
    (sentence,) = by_topic(sentences(analysis))["Interaction"]
    assert contrast.verdict == "synergistic"
    assert "se with elu" in sentence.text
    assert "synergistic" in sentence.text
    assert sentence.numbers["mean"] == contrast.mean


def test_the_slope_over_sizes_is_that_of_the_curve():
    study, options = STUDIES["sizes"]
    analysis = make_analysis(study, **options)
    (sentence,) = by_topic(sentences(analysis))["Training size"]
    assert sentence.numbers["slope"] == analysis.sizes[0].curve.slope
    assert (sentence.numbers["smallest"], sentence.numbers["largest"]) == (200, 2000)


def test_costs_are_ratios_over_pairs_that_differ_in_nothing_else():
    analysis = make_analysis(make_study(**TWO_BY_TWO))
    (sentence,) = by_topic(sentences(analysis))["Cost"]
    assert sentence.numbers["parameters"] == pytest.approx(1.1)
    assert sentence.numbers["image"] == pytest.approx(1.1)
    assert sentence.numbers["pairs"] == 2


def test_the_bias_shift_is_over_the_layers_that_change_only():
    analysis = make_analysis(make_study(**TWO_BY_TWO), seeds=3)
    (sentence,) = by_topic(sentences(analysis))["Bias shift"]
    sizes = {}
    for condition in analysis.conditions:
        for run in condition.runs:
            backbone = [abs(one.mean) for one in run.activations if "gate" not in one.layer]
            sizes.setdefault(condition.factors["activation"], []).append(sum(backbone) / len(backbone))
    assert sentence.numbers["a"] == pytest.approx(sum(sizes["elu"]) / 6)
    assert sentence.numbers["b"] == pytest.approx(sum(sizes["relu"]) / 6)
    assert sentence.numbers["layers"] == 2


def test_the_best_is_the_highest_and_others_are_told_apart_by_a_paired_test():
    study = make_study(factors={"backbone": "vgg11", "attention": ["none", "se", "cbam"]})
    analysis = make_analysis(
        study, seeds=6, gain=lambda factors: {"none": 0.0, "se": 0.2, "cbam": 0.2005}[factors["attention"]]
    )
    (found,) = best_conditions(analysis)
    assert found.condition.accuracy.mean == max(one.accuracy.mean for one in analysis.conditions)
    assert (found.others, found.alike) == (2, 1)


def test_without_any_spread_nothing_is_told_apart():
    study, options = STUDIES["all runs alike"]
    (found,) = best_conditions(make_analysis(study, **options))
    assert (found.others, found.alike) == (1, 1)


def test_gaps_are_counted_once(tmp_path):
    study, options = STUDIES["failures"]
    options["changes"]["set_aside"] = (SetAside(tmp_path / "a", "damaged"),)
    analysis = make_analysis(study, **options)
    texts = [sentence.text for sentence in by_topic(sentences(analysis))["What is missing"]]
    assert texts[0] == "1 run is not in the numbers: failed."
    assert texts[1] == "1 planned run is not finished."
    assert "1 run with damaged files is left out." in texts
    assert "1 run has training warnings; see below." in texts
    first = sentences(analysis)[0]
    assert first.numbers["planned"] == first.numbers["runs"] + 2


def test_limits_name_few_runs_one_data_set_narrow_models_and_part_of_the_data():
    study = make_study(factors={"backbone": "vgg11", "attention": ["none", "se"], "fraction": 0.2})
    limits = [one.text for one in by_topic(sentences(make_analysis(study)))["What this study cannot say"]]
    for words in ("4 runs of a condition", "one data set, fer2013", "0.25 of the usual", "At most 20 %"):
        assert any(words in text for text in limits), words
