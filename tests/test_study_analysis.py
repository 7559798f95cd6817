"""What the runs of a study come to: conditions, what is missing, and what makes numbers not comparable."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from study_records import TWO_BY_TWO, accuracies, make_study, write_run

from fer_attention.evaluation import paper_parameters
from fer_attention.study import StudyError
from fer_attention.study.analysis import analyse_folder
from fer_attention.study.conditions import summarise
from fer_attention.study.grid import expand
from fer_attention.study.records import PREDICTIONS, RECORD

ATTENTION = {"backbone": "resnetv2_18", "attention": ["none", "se"]}


def only(items):
    (item,) = items
    return item


def by_level(analysis, **levels):
    return only(one for one in analysis.conditions if levels.items() <= one.factors.items())


def of(name, seed):
    """Picks the run of one attention and seed."""
    return lambda run: run.factors["attention"] == name and run.seed == seed


def test_a_condition_is_the_mean_of_its_runs_with_the_t_interval(tmp_path):
    store = make_study(tmp_path, ATTENTION, effect=lambda factors, *_: 0.05 * (factors["attention"] == "se"))
    one = by_level(analyse_folder(tmp_path), attention="se")
    values = list(accuracies(store, attention="se").values())
    assert len(values) == one.accuracy.n == one.planned == 4
    mean, sd = math.fsum(values) / 4, statistics.stdev(values)
    half = stats.t.ppf(0.975, 3) * sd / 2
    expected = [mean, sd, mean - half, mean + half]
    found = one.accuracy
    assert [found.mean, found.sd, found.low, found.high] == pytest.approx(expected)
    assert one.balanced_accuracy.mean == pytest.approx(mean - 0.02)
    assert one.macro_f1.mean == pytest.approx(mean - 0.04)
    assert one.validation_accuracy.mean == pytest.approx(mean + 0.01)
    assert one.calibration_error.mean == pytest.approx(0.05)
    assert [run.replication for run in one.runs] == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_the_level_of_the_intervals_is_the_study_s(tmp_path):
    store = make_study(tmp_path, {"backbone": "resnetv2_18"}, alpha=0.2)
    found = only(analyse_folder(tmp_path).conditions).accuracy
    values = list(accuracies(store).values())
    expected = stats.t.interval(0.8, 3, loc=statistics.fmean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)


@given(st.lists(st.integers(0, 1000).map(lambda right: right / 1000), min_size=1, max_size=8))
def test_a_summary_holds_its_mean_and_says_what_one_run_cannot(values):
    found = summarise(values, confidence=0.95)
    assert found.n == len(values)
    assert found.mean == pytest.approx(sum(values) / len(values))
    if len(values) == 1:
        assert (found.sd, found.low, found.high) == (None, None, None)
    elif len(set(values)) == 1:
        assert (found.sd, found.low, found.high) == (0, None, None)
    else:
        assert found.low < found.mean < found.high
        assert found.low >= 0
        assert found.high <= 1


def test_conditions_are_in_the_study_s_order_and_named_by_what_varies(tmp_path):
    make_study(tmp_path, TWO_BY_TWO, seeds=1)
    analysis = analyse_folder(tmp_path)
    assert analysis.varied == ("attention", "activation")
    assert [one.label for one in analysis.conditions] == ["none, relu", "none, elu", "se, relu", "se, elu"]
    assert [one.model for one in analysis.conditions] == [
        "resnetv2_18", "resnetv2_18_elu", "resnetv2_18_se", "resnetv2_18_se_elu",
    ]  # fmt: skip


def test_a_study_of_one_condition_names_it_by_its_model(tmp_path):
    make_study(tmp_path, {"backbone": "vgg11"}, seeds=1)
    analysis = analyse_folder(tmp_path)
    assert only(analysis.conditions).label == "vgg11"
    assert analysis.varied == analysis.families == analysis.ranks == analysis.sizes == analysis.problems == ()


def test_times_are_medians_and_memory_the_largest(tmp_path):
    def change(record, run):
        seconds = [10.0, 1000.0, 30.0, 20.0][run.seed]
        record["cost"] |= {"train_seconds": seconds, "latency_ms": seconds / 10, "images_per_second": seconds}
        record["cost"]["peak_memory_mb"] = [None, 5.0, 9.0, 7.0][run.seed]

    make_study(tmp_path, {"backbone": "resnetv2_18"}, change=change)
    one = only(analyse_folder(tmp_path).conditions)
    assert (one.train_seconds, one.latency_ms, one.images_per_second) == (25.0, 2.5, 25.0)
    assert one.peak_memory_mb == 9.0
    assert (one.parameters, one.macs) == (700_000, 20_000_000)


def test_bias_shift_is_the_mean_size_of_the_layers_means_over_the_runs(tmp_path):
    means = [[0.4, -0.2], [0.1, -0.7], [], [0.3, 0.0]]

    def change(record, run):
        record["activations"] = [
            {"layer": f"{i}", "kind": "ELU", "mean": mean, "variance": 1.0, "fraction_negative": 0.5}
            for i, mean in enumerate(means[run.seed])
        ]

    make_study(tmp_path, {"backbone": "resnetv2_18"}, change=change)
    one = only(analyse_folder(tmp_path).conditions)
    assert one.bias_shift == pytest.approx((0.3 + 0.4 + 0.15) / 3)  # the run without any is left out


def test_what_was_not_measured_is_none(tmp_path):
    make_study(tmp_path, {"backbone": "resnetv2_18"})
    one = only(analyse_folder(tmp_path).conditions)
    assert one.bias_shift is one.peak_memory_mb is one.accuracy_new is None


def test_accuracy_without_copies_is_that_of_the_runs_that_have_it(tmp_path):
    def change(record, run):
        record["test_new"] = {**record["test"], "n": 900, "accuracy": 0.1 * (run.seed + 1)}

    make_study(tmp_path, {"backbone": "resnetv2_18"}, seeds=3, change=change)
    found = only(analyse_folder(tmp_path).conditions).accuracy_new
    assert (found.n, found.mean, found.sd) == (3, pytest.approx(0.2), pytest.approx(0.1))


def test_conditions_carry_the_paper_s_numbers_where_it_has_them(tmp_path):
    factors = {"backbone": "vgg16", "attention": ["none", "se", "gct"], "activation": ["relu", "elu"]}
    make_study(tmp_path, factors, seeds=1, data=("fer2013", "ferplus"))
    analysis = analyse_folder(tmp_path)
    published = {
        (one.model, one.data.name): one.published for one in analysis.conditions if one.published is not None
    }
    expected = {("vgg16_elu", "fer2013"): 0.6066, ("vgg16_se_elu", "fer2013"): 0.6305}
    assert published == pytest.approx(expected)
    counts = {one.model: one.paper_parameters for one in analysis.conditions}
    assert counts["vgg16_se_elu"] == paper_parameters("vgg16_se_elu")
    assert counts["vgg16_gct"] is counts["vgg16_gct_elu"] is None


def test_damaged_runs_are_set_aside_and_never_averaged_in(tmp_path):
    store = make_study(tmp_path, ATTENTION)
    ids = {run.seed: run.id for run in store.manifest().runs if run.factors["attention"] == "se"}
    kept = accuracies(store, attention="se")
    cut = store.run_folder(ids[1]) / PREDICTIONS
    cut.write_bytes(cut.read_bytes()[:-10])
    record = store.run_folder(ids[2]) / RECORD
    record.write_text(record.read_text()[:-40])
    analysis = analyse_folder(tmp_path)
    one = by_level(analysis, attention="se")
    assert {aside.folder.name for aside in analysis.set_aside} == {ids[1], ids[2]}
    assert [run.seed for run in one.runs] == [0, 3]
    assert one.accuracy.mean == pytest.approx((kept[0, 0] + kept[3, 0]) / 2)
    assert [title.split(", ")[-2] for title in analysis.missing] == ["seed 1", "seed 2"]
    assert only(analysis.families).single[0].paired.n == 2
    assert only(analysis.families).single[0].unpaired == 2
    assert only(analysis.problems) == "se: 2 of 4 runs are finished."


def test_failed_runs_are_named_with_their_reason_and_are_not_missing(tmp_path):
    store = make_study(tmp_path, ATTENTION, without=of("se", 3))
    run = only(run for run in expand(store.manifest().study) if of("se", 3)(run))
    store.fail(run, "the loss is not finite", "in the third epoch")
    analysis = analyse_folder(tmp_path)
    assert analysis.failed == ((run.title, "the loss is not finite"),)
    assert analysis.missing == ()


def test_runs_that_the_study_does_not_plan_are_counted_and_ignored(tmp_path):
    store = make_study(tmp_path, ATTENTION)
    before = analyse_folder(tmp_path)
    other = store.manifest().study.model_copy(update={"statistics_images": 99})
    strangers = expand(other)
    for run in strangers[1:]:
        write_run(store, run, 0.99, names=[f"{i}" for i in range(1000)])
    store.fail(strangers[0], "never mind", "")
    after = analyse_folder(tmp_path)
    assert (before.foreign, after.foreign) == (0, len(strangers) - 1)
    assert [one.accuracy for one in after.conditions] == [one.accuracy for one in before.conditions]
    assert (after.families, after.problems, after.failed) == (before.families, (), ())


def test_a_study_without_a_finished_run_has_no_answers_and_says_so(tmp_path):
    store = make_study(tmp_path, TWO_BY_TWO, without=lambda run: True, interactions=[{}])
    analysis = analyse_folder(tmp_path)
    assert analysis.conditions == analysis.families == analysis.interactions == analysis.pareto == ()
    assert len(analysis.missing) == len(store.manifest().runs) == 16
    assert "se, elu: 0 of 4 runs are finished." in analysis.problems


def test_conditions_with_fewer_runs_than_planned_are_problems_those_with_none_as_well(tmp_path):
    def without(run):
        plain = run.factors["attention"] == "none"
        return run.factors["activation"] == "elu" and (plain or run.seed == 2)

    make_study(tmp_path, TWO_BY_TWO, without=without)
    found = [one for one in analyse_folder(tmp_path).problems if one.endswith("runs are finished.")]
    assert found == ["none, elu: 0 of 4 runs are finished.", "se, elu: 3 of 4 runs are finished."]


def test_training_warnings_stand_with_the_title_of_their_run(tmp_path):
    def change(record, run):
        record["warnings"] = ["the gradient vanishes", "it overfits"] if of("se", 1)(run) else []

    store = make_study(tmp_path, ATTENTION, change=change)
    title = only(run.title for run in expand(store.manifest().study) if of("se", 1)(run))
    assert analyse_folder(tmp_path).warnings == ((title, "the gradient vanishes"), (title, "it overfits"))


@pytest.mark.parametrize(
    ("part", "field", "value", "words"),
    [
        ("data", "fingerprint", "other", ("fer2013", "fingerprint")),
        ("data", "labels", ["sad", "glad"], ("fer2013", "labels")),
        ("environment", "threads", 8, ("threads", "1", "8")),
        ("environment", "device", "cuda: H", ("device", "cuda: H", "x86_64")),
        ("environment", "torch", "2.8", ("torch", "2.8", "2.9")),
        ("environment", "cpu_capability", "AVX512", ("cpu_capability", "AVX512")),
        ("environment", "driver", "550", ("driver", "null", "550")),
        (None, "tta", "flip", ("test-time augmentation",)),
    ],
)
def test_what_makes_runs_not_comparable_is_said(tmp_path, part, field, value, words):
    def change(record, run):
        if of("se", 2)(run):
            (record if part is None else record[part])[field] = value

    make_study(tmp_path, ATTENTION, change=change)
    problem = only(analyse_folder(tmp_path).problems)
    assert all(word in problem for word in words)


def test_different_data_sets_may_have_different_images_and_labels(tmp_path):
    def change(record, run):
        if run.factors["data"] == "jaffe":
            record["data"]["labels"] = ["sad", "glad"]

    make_study(tmp_path, {"backbone": "resnetv2_18"}, data=("fer2013", "jaffe"), change=change)
    assert not any("fingerprint" in one or "labels" in one for one in analyse_folder(tmp_path).problems)


def test_a_folder_without_a_study_or_without_its_runs_is_refused(tmp_path):
    with pytest.raises(StudyError, match="holds no study"):
        analyse_folder(tmp_path)
    store = make_study(tmp_path / "one", {"backbone": "resnetv2_18"}, without=lambda run: True)
    (store.folder / "runs").rmdir()
    with pytest.raises(FileNotFoundError, match="no folder runs"):
        analyse_folder(store.folder)
