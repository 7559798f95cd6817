"""The words and numbers of a study's report."""

import math
import re

import pytest

pytest.importorskip("statsmodels")

from fer_attention.study.analysis import analyse_folder  # noqa: E402
from fer_attention.study.report import numbers, write_report  # noqa: E402
from fer_attention.study.report.numbers import MINUS, MISSING  # noqa: E402
from fer_attention.study.report.render import html_text, markdown_text  # noqa: E402
from fer_attention.study.report.tables import report_tables  # noqa: E402
from tests.support.study_records import SIZES, VGG, effect, make_study, only  # noqa: E402


def markdown(folder):
    return write_report(folder).with_name("report.md").read_text()


@pytest.mark.parametrize(
    ("lead", "noise", "words"),
    [
        (0.004, 0.004, "Not shown to be better, but not worse by 0.50 points or more (non-inferior, p "),
        (0.0, 0.001, "Equivalent: the difference is within ±0.50 points (p "),
        (0.003, 0.0005, "se is better, by less than the margin of 0.50 points."),
        (-0.02, 0.001, "se is worse."),
        (
            0.0,
            0.01,
            "neither a difference nor that se is less than 0.50 points worse; about 34 pairs would be needed",
        ),
    ],
)
def test_every_verdict_has_its_sentence(tmp_path, lead, noise, words):
    def effect(factors, seed, fold):
        return (lead + noise * (1, -1, 1, -1, 0)[seed]) * (factors["attention"] == "se")

    make_study(tmp_path, {"backbone": "vgg11", "attention": ["none", "se"]}, effect=effect, seeds=5)
    assert words in markdown(tmp_path)


def test_gains_by_size_are_said_and_the_paper_stands_beside_runs_with_the_most_images_only(tmp_path):
    def growing(factors, seed, fold):
        return (0.02 * math.log2(factors["fraction"]) + 0.001 * seed) * (factors["attention"] == "se")

    make_study(tmp_path, SIZES, effect=growing, change=lambda record, run: record["cost"].update(
        latency_ms=1 + run.seed
    ))  # fmt: skip
    said = markdown(tmp_path)
    assert "Between 2,000 and 8,000 training images, the gain of se over none changes by +2.00 points" in said
    tables = report_tables(analyse_folder(tmp_path))
    assert tables["sizes"].frame["8,000 images"].tolist() == ["+0.15"]
    paper = tables["paper"].frame
    assert paper["condition"].tolist() == ["none, 100 % of train", "se, 100 % of train"]
    assert paper["paper %"].tolist() == ["60.66", "63.05"]


def test_an_entry_of_the_paper_at_chance_is_called_that(tmp_path):
    factors = {"backbone": ["resnet152", "resnet50"], "activation": "elu"}
    make_study(tmp_path, factors, effect=effect, data=("jaffe",), seeds=2)
    said = markdown(tmp_path)
    assert "resnet152_elu on jaffe: 15.66 % is about one class out of seven" in said
    assert "resnet50_elu on jaffe: " not in said


def test_a_report_says_nothing_of_the_machine_s_folders(tmp_path):
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


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (numbers.percent(0.63204), "63.20"),
        (numbers.percent(None), MISSING),
        (numbers.points(0.006), "+0.60"),
        (numbers.points(-0.0123), f"{MINUS}1.23"),
        (numbers.points(-0.00001), "0.00"),
        (numbers.points(math.nan), MISSING),
        (numbers.p_value(0.0004), "< 0.001"),
        (numbers.p_value(1.0), "1.000"),
        (numbers.equals(0.11), "= 0.110"),
        (numbers.span(-0.002, 0.014, numbers.points), f"{MINUS}0.20 to +1.40"),
        (numbers.span(math.nan, 0.5), MISSING),
        (numbers.count(3589), "3,589"),
        (numbers.millions(23_654_321), "23.65"),
        (numbers.millions(713_900), "0.714"),
        (numbers.short(99.96), "100"),
        (numbers.short(23.76), "23.8"),
        (numbers.ranged([7, 9, 8]), "7 to 9"),
        (numbers.plural(1, "seed"), "1 seed"),
        (numbers.plural(1200, "seed"), "1,200 seeds"),
        (numbers.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_are_printed_in_one_way(text, wanted):
    assert text == wanted


def test_text_is_shown_as_it_is_and_only_arxiv_is_linked():
    assert markdown_text("resnetv2_18_cbam") == "resnetv2_18_cbam"
    assert markdown_text("_a_ *b* `c` <d> |e| [f](g)") == r"\_a\_ \*b\* \`c\` &lt;d&gt; \|e\| \[f\](g)"
    assert markdown_text("arXiv:2410.17740.") == "[arXiv:2410.17740](https://arxiv.org/abs/2410.17740)."
    made = str(html_text('<a href="https://x.org">x</a> arXiv:2410.17740, 5 %'))
    assert only(re.findall(r'href="([^"]*)"', made)) == "https://arxiv.org/abs/2410.17740"
    assert "5\N{NARROW NO-BREAK SPACE}%" in made
