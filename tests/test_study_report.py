"""The files of a study's report: whole, self-contained, equal for equal studies, true to the analysis."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from fer_attention.study.report.document import Table
from fer_attention.study.report.sections import document_of
from fer_attention.study.report.wording import percent, points, span
from PIL import Image
from study_analyses import TWO_BY_TWO, make_analysis, make_study

from fer_attention.study.config import StudyError
from fer_attention.study.records import SetAside
from fer_attention.study.report import sentences, write_analysis

EVIL = "<script>alert('1')</script>|$x_1$ & \\b {é} 5% #"
VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use", "rect"}
SIZES = {**TWO_BY_TWO["factors"], "activation": "elu", "fraction": [0.1, 0.3, 1.0]}


class Page(HTMLParser):
    """Tags with their attributes, the text, and what is opened but not closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.stack = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split()).replace("\N{NARROW NO-BREAK SPACE}", " ")


def gain(factors):
    return 0.02 * (factors["attention"] == "se") + 0.01 * (factors["activation"] == "elu")


@pytest.fixture(scope="module")
def analysis():
    return make_analysis(make_study(**TWO_BY_TWO), gain=gain)


@pytest.fixture(scope="module")
def written(analysis, tmp_path_factory):
    return write_analysis(analysis, tmp_path_factory.mktemp("report") / "deep" / "er")


CASES = {
    "one run": (make_study(factors={"backbone": "vgg11"}), {"seeds": 1}),
    "one condition": (make_study(factors={"backbone": "vgg11"}), {}),
    "one run of each condition": (make_study(**TWO_BY_TWO), {"seeds": 1, "epochs": 1}),
    "sizes": (make_study(factors=SIZES), {"gain": gain}),
    "three sets of three methods": (
        make_study(
            factors={"backbone": "vgg11", "attention": ["none", "se", "cbam"]},
            data={"fer2013": {}, "ck+": {}, "c k": {}},
        ),
        {"seeds": 2},
    ),
    "folds, failures, gaps": (
        make_study(**TWO_BY_TWO),
        {
            "seeds": 1,
            "folds": 3,
            "changes": {
                "failed": (("run 7", "it diverged"),),
                "missing": ("run 8",),
                "foreign": 2,
                "problems": ("two environments: threads",),
                "signs": (("run 1", "loss rose"),),
            },
        },
    ),
    "hostile names": (
        make_study(
            title=EVIL,
            question=EVIL,
            factors={"backbone": "vgg11", "attention": ["none", "se"], "setting": {EVIL: {}, "b": {}}},
            data={EVIL: {}},
            interactions=[{"first": "attention", "second": "setting"}],
        ),
        {"changes": {"failed": ((EVIL, EVIL),), "problems": (EVIL,)}, "seeds": 3},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_study_renders(case, tmp_path):
    study, options = CASES[case]
    paths = write_analysis(make_analysis(study, **options), tmp_path)
    text = paths.html.read_text()
    page = Page(text)
    assert page.stack == []
    assert "script" not in {tag for tag, _ in page.tags}
    for nothing in (" nan", " None ", "{{"):
        assert nothing not in page.text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    markdown = paths.markdown.read_text()
    tables = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    assert len(tables) == len(paths.tables)
    for table in tables:
        bare = [re.sub(r"\\.", "", line) for line in table.splitlines()]
        assert len({line.count("|") for line in bare}) == 1
    for name in re.findall(r"\]\((plots/[^)]*)\)", markdown):
        assert (tmp_path / name).is_file()
    assert len(paths.plots) == 2 * len(set(re.findall(r"\]\(plots/([^)]*)\.svg\)", markdown)))


def test_the_page_needs_nothing_from_elsewhere(written):
    text = written.html.read_text()
    tags = Page(text).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "img", "object", "embed"}
    assert "@import" not in text
    assert text.count("url(") == text.count("url(#")
    ids = {attributes["id"] for _, attributes in tags if "id" in attributes}
    for tag, attributes in tags:
        assert not {"src", "srcset", "data"} & set(attributes)
        for name in ("href", "xlink:href"):
            target = attributes.get(name, "")
            assert not target or target[1:] in ids or (tag == "a" and "://arxiv.org/abs/" in target)
    assert text.count("://") == text.count("https://arxiv.org/abs/")


def test_the_same_study_gives_the_same_bytes(analysis, written, tmp_path):
    write_analysis(analysis, tmp_path)
    first = {path.relative_to(written.html.parent): path for path in written.html.parent.rglob("*.*")}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} == set(first)
    for name, path in first.items():
        assert (tmp_path / name).read_bytes() == path.read_bytes(), name


def test_page_and_markdown_say_every_sentence_and_every_cell(analysis, written):
    page = Page(written.html.read_text()).text
    markdown = written.markdown.read_text()
    summary = sentences(analysis)
    for sentence in summary:
        assert sentence.text in page
        assert sentence.text.replace("<", "&lt;") in markdown
    for table in document_of(analysis, summary).tables:
        assert (written.html.parent / f"tables/{table.name}.tex") in written.tables
        for cell in {cell for row in table.rows for cell in row}:
            assert cell in page
            assert cell.replace("|", r"\|").replace("<", "&lt;") in markdown


def table_of(analysis, name) -> Table:
    return next(one for one in document_of(analysis, sentences(analysis)).tables if one.name == name)


def test_the_table_of_conditions_is_the_analysis(analysis):
    table = table_of(analysis, "conditions")
    for row, condition in zip(table.rows, analysis.conditions, strict=True):
        accuracies = [run.test.accuracy for run in condition.runs]
        cells = dict(zip([column.heading for column in table.columns], row, strict=True))
        assert cells["condition"] == condition.label
        assert cells["runs"] == "4 of 4"
        assert cells["accuracy %"] == f"{np.mean(accuracies) * 100:.2f}"
        assert cells["sd"] == f"{np.std(accuracies, ddof=1) * 100:.2f}"
        assert cells["95 % interval"] == span(condition.accuracy.low, condition.accuracy.high)
        assert cells["without copies %"] == f"{(np.mean(accuracies) - 0.02) * 100:.2f}"
        assert cells["balanced %"] == f"{(np.mean(accuracies) - 0.031) * 100:.2f}"
        assert cells["macro-F1 %"] == f"{(np.mean(accuracies) - 0.027) * 100:.2f}"
        assert cells["ECE %"] == "4.30"
        assert cells["validation %"] == f"{(np.mean(accuracies) + 0.01) * 100:.2f}"
    assert table.column("paper %") == ("–", "60.66", "–", "63.05")
    for said in ("500", "official", "300 validation", "4 seeds (0, 1, 2, 3)", "no test-time", "2410.17740"):
        assert said in table.note


def test_the_table_of_comparisons_is_the_analysis(analysis):
    table = table_of(analysis, "comparisons-attention")
    (family, _) = analysis.families
    rows = [family.pooled[0], *family.single]
    assert table.column("comparison") == tuple(one.label for one in rows)
    assert table.column("difference, points") == tuple(points(one.paired.difference) for one in rows)
    assert table.column("95 % interval") == tuple(span(*one.paired.interval, points) for one in rows)
    assert table.column("decided") == tuple("yes" if one.decided else "no" for one in rows)
    further = table_of(analysis, "comparisons-attention-further")
    counts = [sum(one.test.p < 0.05 for one in row.images) for row in family.single]
    wanted = ("–", *(f"{count} of 4" for count in counts))  # pooled, there are several models
    assert further.column("McNemar p < 0.05") == wanted


def test_the_table_of_interactions_is_the_analysis(analysis):
    contrast = analysis.interactions[0].analysis.interactions[0]
    table = table_of(analysis, "interaction-1")
    assert table.column("mean, points") == (points(contrast.mean),)
    assert table.column("verdict") == (contrast.verdict,)
    anova = table_of(analysis, "anova-1")
    effects = analysis.interactions[0].analysis.anova
    assert anova.column("effect") == tuple(one.effect for one in effects)
    assert anova.column("F") == tuple(f"{one.f:.2f}" for one in effects)


def test_the_paper_stands_beside_runs_with_the_most_images_only():
    analysis = make_analysis(make_study(factors=SIZES))
    table = table_of(analysis, "paper")
    assert table.column("condition") == ("none, 100 % of train", "se, 100 % of train")
    assert table.column("paper %") == ("60.66", "63.05")
    ours = [one.accuracy.mean for one in analysis.conditions if one.factors["fraction"] == 1]
    wanted = tuple(points(a - b) for a, b in zip(ours, (0.6066, 0.6305), strict=True))
    assert table.column("ours - paper, points") == wanted


def test_ranks_of_three_sets_give_no_verdict_and_say_why():
    study = make_study(
        factors={"backbone": "vgg11", "attention": ["none", "se", "cbam", "eca"]},
        data={"a": {}, "b": {}, "c": {}},
    )
    analysis = make_analysis(study, seeds=2)
    table = table_of(analysis, "ranks-attention")
    assert f"No verdict: {analysis.ranks[0].friedman.why}" in table.note
    assert sorted(table.column("mean rank")) == list(table.column("mean rank"))


def test_the_csv_has_a_line_for_each_run(analysis, written):
    lines = list(csv.DictReader(io.StringIO(written.csv.read_text())))
    runs = [run for condition in analysis.conditions for run in condition.runs]
    assert [line["id"] for line in lines] == [run.id for run in runs]
    for line, run in zip(lines, runs, strict=True):
        assert float(line["test_accuracy"]) == run.test.accuracy
        assert float(line["test_new_macro_f1"]) == run.test_new.macro_f1
        assert float(line["train_seconds"]) == run.cost.train_seconds
        assert (line["attention"], line["seed"]) == (run.factors["attention"], str(run.seed))
        assert int(line["selected_epoch"]) == run.selected_epoch
        assert line["peak_memory_mb"] == ""


def test_the_json_holds_all_numbers_in_full_and_nothing_of_the_machine(tmp_path):
    study = make_study(**{**TWO_BY_TWO, "data": {"fer2013": {"path": "/home/someone/faces"}}})
    analysis = make_analysis(study, changes={"set_aside": (SetAside(tmp_path / "abc", "cut off"),)})
    paths = write_analysis(analysis, tmp_path)
    text = paths.json.read_text()
    assert not {"NaN", "Infinity"} & set(re.findall(r"\w+", text))
    assert str(tmp_path) not in text
    for path in (paths.json, paths.html, paths.markdown):
        assert "someone" not in path.read_text()
    record = json.loads(text)
    for made, condition in zip(record["conditions"], analysis.conditions, strict=True):
        assert made["accuracy"]["mean"] == condition.accuracy.mean
        assert [run["test"]["accuracy"] for run in made["runs"]] == [
            run.test.accuracy for run in condition.runs
        ]
    made = record["families"][0]["pooled"][0]
    assert math.isclose(made["paired"]["p_t"], analysis.families[0].pooled[0].paired.p_t, rel_tol=0)
    assert [one["text"] for one in record["sentences"]] == [one.text for one in sentences(analysis)]


def test_plots_are_drawn_on_white_and_name_what_they_show(written):
    for path in written.plots:
        if path.suffix == ".png":
            picture = np.asarray(Image.open(path).convert("RGB"))
            assert picture[0, 0].tolist() == [255, 255, 255]
            assert picture.std() > 5  # it is not empty
        else:
            assert 'fill="white"' in path.read_text()
    page = written.html.read_text()
    assert page.count('role="img"') == len(written.plots) / 2
    assert "#1d2430" not in page.split("</style>")[1]  # ink is a variable, for the dark


def test_a_study_without_a_finished_run_is_refused(analysis, tmp_path):
    empty = replace(analysis, conditions=(), failed=(("a", "b"),))
    with pytest.raises(StudyError, match=r"No run of the study is finished.*1 failed"):
        write_analysis(empty, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_percent_in_captions_is_the_studys_confidence():
    study = make_study(**TWO_BY_TWO, alpha=0.1)
    table = table_of(make_analysis(study), "conditions")
    assert f"{percent(0.9, 0)} % interval" in [column.heading for column in table.columns]


def test_an_entry_of_the_paper_at_chance_is_called_that():
    study = make_study(
        factors={"backbone": ["resnet152", "resnet50"], "activation": "elu"}, data={"jaffe": {}}
    )
    note = table_of(make_analysis(study, seeds=2), "paper").note
    assert "resnet152_elu on jaffe: 15.66 % is about one class out of seven" in note
    assert "resnet50_elu on jaffe: " not in note
