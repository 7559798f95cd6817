"""Conditions of a study, missing runs, and differences that make runs incomparable."""

import math
import statistics

import pytest

pytest.importorskip("statsmodels")

from scipy import stats  # noqa: E402

from fer_attention.evaluation import paper_parameters  # noqa: E402
from fer_attention.study import StudyConfig, StudyError  # noqa: E402
from fer_attention.study.analysis import analyse_folder  # noqa: E402
from fer_attention.study.analysis.conditions import paper_parameter_count, pareto_fronts  # noqa: E402
from fer_attention.study.grid import expand  # noqa: E402
from fer_attention.study.records import PREDICTIONS, RECORD  # noqa: E402
from tests.support.study_records import SIZES, TWO_BY_TWO, accuracies, make_study, only, write_run  # noqa: E402

ATTENTION = {"backbone": "resnetv2_18", "attention": ["none", "se"]}
ALONE = {"backbone": "resnetv2_18"}


def condition(analysis, **levels):
    frame = analysis.conditions
    for name, level in levels.items():
        frame = frame[frame[name] == level]
    return only(frame.itertuples())


def of(name, seed):
    """Return a predicate for the run of one attention and seed."""
    return lambda run: run.factors["attention"] == name and run.seed == seed


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_a_condition_is_the_mean_of_its_runs_with_the_t_interval(tmp_path, alpha):
    store = make_study(tmp_path, ATTENTION, effect=lambda factors, *_: 0.05 * (factors["attention"] == "se"),
                       alpha=alpha)  # fmt: skip
    one = condition(analyse_folder(tmp_path), attention="se")
    values = list(accuracies(store, attention="se").values())
    mean, sd = math.fsum(values) / 4, statistics.stdev(values)
    half = stats.t.ppf(1 - alpha / 2, 3) * sd / 2
    assert (one.n, one.accuracy, one.sd) == (4, pytest.approx(mean), pytest.approx(sd))
    assert (one.low, one.high) == pytest.approx((mean - half, mean + half))
    assert one.balanced_accuracy == pytest.approx(mean - 0.02)
    assert one.macro_f1 == pytest.approx(mean - 0.04)
    assert one.validation_accuracy == pytest.approx(mean + 0.01)
    assert one.calibration_error == pytest.approx(0.05)


def test_intervals_of_shares_are_clipped_to_0_and_1(tmp_path):
    make_study(tmp_path, ALONE, effect=lambda factors, seed, fold: 0.4 - 0.4 * (seed == 1), seeds=2)
    one = condition(analyse_folder(tmp_path))
    assert (one.low, one.high) == (0.0, 1.0)


def test_conditions_keep_the_study_order_and_are_named_by_varied_factors(tmp_path):
    make_study(tmp_path, TWO_BY_TWO, seeds=1)
    found = analyse_folder(tmp_path).conditions
    assert found["condition"].tolist() == ["none, relu", "none, elu", "se, relu", "se, elu"]
    assert found["model"].tolist() == [
        "resnetv2_18", "resnetv2_18_elu", "resnetv2_18_se", "resnetv2_18_se_elu",
    ]  # fmt: skip


def test_a_renamed_level_keeps_its_runs(tmp_path):
    levels = {"attention": ["none", {"name": "se", "options": {"start": "open"}}], "setting": {"a": {}}}
    store = make_study(tmp_path, {**ALONE, **levels}, seeds=2)
    before = analyse_folder(tmp_path).conditions
    levels = {"attention": ["none", {**levels["attention"][1], "label": "mine"}], "setting": {"b": {}}}
    study = store.manifest().study.model_dump() | {"factors": {**ALONE, **levels}}
    study = StudyConfig.model_validate(study)
    store.begin(study, expand(study))
    after = analyse_folder(tmp_path).conditions
    assert before["attention"].tolist() == ["none", "se(start=open)"]
    assert after["attention"].tolist() == ["none", "mine"]
    assert after["accuracy"].tolist() == before["accuracy"].tolist()


def test_a_single_condition_is_named_by_its_model(tmp_path):
    make_study(tmp_path, {"backbone": "vgg11"}, seeds=1)
    found = analyse_folder(tmp_path)
    assert condition(found).condition == "vgg11"
    assert len(found.comparisons) == len(found.slopes) == len(found.best) == len(found.problems) == 0


def test_times_are_medians_and_memory_is_the_maximum(tmp_path):
    def change(record, run):
        seconds = [10.0, 1000.0, 30.0, 20.0][run.seed]
        record["cost"] |= {"train_seconds": seconds, "latency_ms": seconds / 10, "images_per_second": seconds}
        record["cost"]["peak_memory_mb"] = [None, 5.0, 9.0, 7.0][run.seed]

    make_study(tmp_path / "one", ALONE, change=change)
    one = condition(analyse_folder(tmp_path / "one"))
    assert (one.train_seconds, one.latency_ms, one.images_per_second) == (25.0, 2.5, 25.0)
    assert (one.peak_memory_mb, one.parameters, one.macs) == (9.0, 700_000, 20_000_000)
    make_study(tmp_path / "two", ALONE)
    other = condition(analyse_folder(tmp_path / "two"))
    assert math.isnan(other.peak_memory_mb)
    assert math.isnan(other.accuracy_new)


def test_bias_shift_covers_layers_with_varied_activation(tmp_path):
    def change(record, run):
        elu = run.factors["activation"] == "elu"
        kind = run.factors["activation"]
        layers = [("stem", 0.1 * run.seed - 0.1 if elu else 0.4, kind), ("end", -0.2 if elu else 0.3, kind)]
        record["activations"] = [
            {"layer": name, "kind": kind, "mean": mean, "variance": 1.0, "fraction_negative": 0.5}
            for name, mean, kind in (*layers, ("gate", 9, "relu"))
        ]

    make_study(tmp_path, {**ALONE, "activation": ["relu", "elu"]}, seeds=3, change=change)
    found = analyse_folder(tmp_path).bias
    assert found[["layer", "activation", "runs"]].to_numpy().tolist() == [
        ["stem", "relu", 3], ["end", "relu", 3], ["stem", "elu", 3], ["end", "elu", 3],
    ]  # fmt: skip
    assert found["mean"].tolist() == pytest.approx([0.4, 0.3, 0.0, -0.2])
    assert found["size"].tolist() == pytest.approx([0.4, 0.3, 0.2 / 3, 0.2])


def test_conditions_show_the_published_values_of_the_paper(tmp_path):
    factors = {"backbone": "vgg16", "attention": ["none", "se", "gct"], "activation": ["relu", "elu"]}
    make_study(tmp_path, factors, seeds=1, data=("fer2013", "ferplus"))
    found = analyse_folder(tmp_path).conditions
    published = found[found["published"].notna()]
    assert dict(zip(published["model"], published["published"], strict=True)) == pytest.approx(
        {"vgg16_elu": 0.6066, "vgg16_se_elu": 0.6305}
    )
    assert paper_parameter_count("vgg16_se_elu") == paper_parameters("vgg16_se_elu")
    assert paper_parameter_count("vgg16_gct_elu") is None


def test_damaged_runs_are_excluded_from_all_means(tmp_path):
    store = make_study(tmp_path, ATTENTION)
    ids = {run.seed: run.id for run in store.manifest().runs if run.factors["attention"] == "se"}
    expected = accuracies(store, attention="se")
    cut = store.run_folder(ids[1]) / PREDICTIONS
    cut.write_bytes(cut.read_bytes()[:-10])
    record = store.run_folder(ids[2]) / RECORD
    record.write_text(record.read_text()[:-40])
    found = analyse_folder(tmp_path)
    assert {folder for folder, _ in found.set_aside} == {ids[1], ids[2]}
    assert condition(found, attention="se").accuracy == pytest.approx((expected[0, 0] + expected[3, 0]) / 2)
    assert [title.split(", ")[-2] for title in found.missing] == ["seed 1", "seed 2"]
    assert only(found.comparisons[["n", "unpaired"]].to_numpy().tolist()) == [2, 2]
    assert only(found.problems) == "se: 2 of 4 runs are finished."


def test_failed_runs_have_a_reason_and_are_not_missing(tmp_path):
    store = make_study(tmp_path, ATTENTION, without=of("se", 3))
    run = only(run for run in expand(store.manifest().study) if of("se", 3)(run))
    store.fail(run, "the loss is not finite", "in the third epoch")
    found = analyse_folder(tmp_path)
    assert (found.failed, found.missing) == (((run.title, "the loss is not finite"),), ())


def test_runs_outside_the_plan_are_counted_and_ignored(tmp_path):
    store = make_study(tmp_path, ATTENTION)
    before = analyse_folder(tmp_path)
    strangers = expand(store.manifest().study.model_copy(update={"statistics_images": 99}))
    for run in strangers[1:]:
        write_run(store, run, 0.99, names=[f"{i}" for i in range(1000)])
    store.fail(strangers[0], "never mind", "")
    after = analyse_folder(tmp_path)
    assert (before.foreign, after.foreign) == (0, len(strangers) - 1)
    assert after.runs.equals(before.runs)
    assert (after.problems, after.failed) == ((), ())


def test_a_study_without_finished_runs_has_empty_tables(tmp_path):
    store = make_study(tmp_path, TWO_BY_TWO, without=lambda run: True, interactions=[{}])
    found = analyse_folder(tmp_path)
    assert len(found.runs) == len(found.conditions) == len(found.comparisons) == len(found.contrasts) == 0
    assert len(found.missing) == found.planned == len(store.manifest().runs) == 16
    assert "se, elu: 0 of 4 runs are finished." in found.problems


def test_conditions_with_fewer_runs_than_planned_are_problems(tmp_path):
    def without(run):
        plain = run.factors["attention"] == "none"
        return run.factors["activation"] == "elu" and (plain or run.seed == 2)

    make_study(tmp_path, TWO_BY_TWO, without=without)
    found = [one for one in analyse_folder(tmp_path).problems if one.endswith("runs are finished.")]
    assert found == ["none, elu: 0 of 4 runs are finished.", "se, elu: 3 of 4 runs are finished."]


def test_training_problems_are_listed_with_the_title_of_the_run(tmp_path):
    def change(record, run):
        record["warnings"] = ["the gradient vanishes", "it overfits"] if of("se", 1)(run) else []

    store = make_study(tmp_path, ATTENTION, change=change)
    title = only(run.title for run in expand(store.manifest().study) if of("se", 1)(run))
    found = analyse_folder(tmp_path)
    assert found.warnings == ((title, "the gradient vanishes"), (title, "it overfits"))


@pytest.mark.parametrize(
    ("part", "field", "value", "words"),
    [
        ("data", "fingerprint", "other", ("fer2013", "fingerprint")),
        ("data", "labels", ["sad", "glad"], ("fer2013", "labels")),
        ("environment", "threads", 8, ("threads", "1", "8")),
        ("environment", "commit", "abc", ("commit", "null", "abc")),
        (None, "tta", "flip", ("test-time augmentation",)),
    ],
)
def test_differences_that_make_runs_incomparable_are_problems(tmp_path, part, field, value, words):
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

    make_study(tmp_path, ALONE, data=("fer2013", "jaffe"), change=change)
    assert not any("fingerprint" in one or "labels" in one for one in analyse_folder(tmp_path).problems)


def test_folders_without_a_study_or_runs_are_rejected(tmp_path):
    with pytest.raises(StudyError, match="has no study.json"):
        analyse_folder(tmp_path)
    store = make_study(tmp_path / "one", ALONE, without=lambda run: True)
    (store.folder / "runs").rmdir()
    with pytest.raises(FileNotFoundError, match="has no folder runs"):
        analyse_folder(store.folder)


def test_pareto_fronts_use_full_data_within_each_data_set(tmp_path):
    costs = {"none": 1, "se": 2, "eca": 3}

    def change(record, run):
        record["cost"]["latency_ms"] = costs[run.factors["attention"]]

    def effect(factors, seed, fold):
        better = "se" if factors["data"] == "fer2013" else "eca"
        return 0.1 * (factors["attention"] == better) + 0.5 * (factors["fraction"] < 1)

    factors = {**SIZES, "attention": list(costs), "fraction": [0.5, 1.0]}
    make_study(tmp_path, factors, effect=effect, seeds=1, data=("fer2013", "jaffe"), change=change)
    found = pareto_fronts(analyse_folder(tmp_path).conditions)
    front = found[found["front_latency_ms"]]
    assert set(found["fraction"]) == {1.0}
    assert front[["data", "attention"]].to_numpy().tolist() == [
        ["fer2013", "none"], ["fer2013", "se"], ["jaffe", "none"], ["jaffe", "eca"],
    ]  # fmt: skip
