"""Sentences of a report's summary, and values of the paper."""

import math
import re

import pytest

pytest.importorskip("statsmodels")

from fer_attention.study.analysis import analyse_folder  # noqa: E402
from fer_attention.study.report import render, write_report  # noqa: E402
from fer_attention.study.report.names import with_readable_names  # noqa: E402
from fer_attention.study.report.plots import report_plots  # noqa: E402
from fer_attention.study.report.tables import report_tables  # noqa: E402
from tests.support.study_records import SIZES, VGG, effect, make_study  # noqa: E402


def markdown(folder):
    """Return the text of `report.md` without the files beside it."""
    analysis = with_readable_names(analyse_folder(folder))
    return render.markdown(analysis, report_tables(analysis), report_plots(analysis))


@pytest.mark.parametrize(
    ("lead", "noise", "words"),
    [
        (0.004, 0.004, "Not shown to be better, but not worse by 0.50 points or more (non-inferior, p "),
        (0.0, 0.001, "Equivalent: the difference is within ±0.50 points (p "),
        (0.003, 0.0005, "It is better, by less than the margin of 0.50 points."),
        (-0.02, 0.001, "). It is worse."),
        (
            0.0,
            0.01,
            "neither a difference nor that SE is less than 0.50 points worse; about 34 pairs would be needed",
        ),
    ],
)
def test_each_verdict_has_its_sentence(tmp_path, lead, noise, words):
    def effect(factors, seed, fold):
        return (lead + noise * (1, -1, 1, -1, 0)[seed]) * (factors["attention"] == "se")

    make_study(tmp_path, {"backbone": "vgg11", "attention": ["none", "se"]}, effect=effect, seeds=5)
    assert words in markdown(tmp_path)


def test_a_study_that_decides_nothing_says_so_first(tmp_path):
    def noise(factors, seed, fold):
        return 0.01 * (1, -1, 1, -1, 0)[seed] * (factors["attention"] == "se")

    make_study(tmp_path, {"backbone": "vgg11", "attention": ["none", "se"]}, effect=noise, seeds=5)
    text = markdown(tmp_path)
    assert "## These runs do not show that any of the alternatives is more or less accurate." in text
    assert (
        "- Not decided: SE against no attention. That is not evidence of equality: true differences of less"
        in text
    )
    assert "| SE vs. no attention | 0.00 |" in text


def test_a_study_that_shows_equality_says_so_first(tmp_path):
    def equal(factors, seed, fold):
        return 0.001 * (1, -1, 1, -1, 0)[seed] * (factors["attention"] == "se")

    make_study(tmp_path, {"backbone": "vgg11", "attention": ["none", "se"]}, effect=equal, seeds=5)
    text = markdown(tmp_path)
    assert "## In these runs, SE is as accurate (within 0.50 points) as no attention." in text
    (power,) = re.findall(r"detect true differences of (.*) points with 80 % power", text)
    assert re.fullmatch(r"\d\.\d\d", power)  # one comparison, one difference


def test_a_study_without_comparisons_starts_with_its_accuracy(tmp_path):
    make_study(tmp_path, {"backbone": "vgg11"}, effect=lambda *_: 0.0, seeds=2)
    lead = markdown(tmp_path).split("<details")[0]
    assert re.search(r"^## On fer2013, .* names \d\d\.\d\d % of the test faces correctly\.$", lead, re.M)
    assert "](plots/conditions-1.png)" in lead
    assert "| accuracy % |" in lead


def test_gains_by_size_and_the_paper_values_for_full_data_are_reported(tmp_path):
    def growing(factors, seed, fold):
        return (0.02 * math.log2(factors["fraction"]) + 0.001 * seed) * (factors["attention"] == "se")

    make_study(tmp_path, SIZES, effect=growing, change=lambda record, run: record["cost"].update(
        latency_ms=1 + run.seed
    ))  # fmt: skip
    text = markdown(tmp_path)
    assert (
        "Between 2,000 and 8,000 training images, the gain of SE over no attention changes by +2.00 points"
        in text
    )
    tables = report_tables(with_readable_names(analyse_folder(tmp_path)))
    assert tables["sizes"].frame["8,000 images"].tolist() == ["+0.15"]
    paper = tables["paper"].frame
    assert paper["condition"].tolist() == ["no attention, 100 % of train", "SE, 100 % of train"]
    assert paper["paper %"].tolist() == ["60.66", "63.05"]


def test_paper_values_at_chance_are_marked(tmp_path):
    factors = {"backbone": ["resnet152", "resnet50"], "activation": "elu"}
    make_study(tmp_path, factors, effect=effect, data=("jaffe",), seeds=2)
    text = markdown(tmp_path)
    assert "resnet152_elu on jaffe: 15.66 % is at chance level for seven classes" in text
    assert "resnet50_elu on jaffe: " not in text


def test_reports_do_not_reveal_folders_of_the_machine(tmp_path):
    data = {"fer2013": {"path": "/home/someone/faces"}}
    make_study(tmp_path, VGG, effect=effect, seeds=2).manifest()
    text = (
        (tmp_path / "study.json").read_text().replace('"path": null', f'"path": "{data["fer2013"]["path"]}"')
    )
    (tmp_path / "study.json").write_text(text)
    html = write_report(tmp_path)
    for name in ("report.html", "report.md", "records.csv"):
        text = html.with_name(name).read_text()
        assert "someone" not in text
        assert str(tmp_path) not in text
