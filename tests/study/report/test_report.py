"""Reports of studies: complete, self-contained, reproducible and consistent with the analysis."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("statsmodels")

import pandas as pd  # noqa: E402
from PIL import Image  # noqa: E402

from fer_attention.study import StudyError  # noqa: E402
from fer_attention.study.analysis import analyse_folder, answers  # noqa: E402
from fer_attention.study.records import PREDICTIONS  # noqa: E402
from fer_attention.study.report import numbers, write_report  # noqa: E402
from fer_attention.study.report.names import with_readable_names  # noqa: E402
from fer_attention.study.report.numbers import MINUS  # noqa: E402
from fer_attention.study.report.tables import report_tables  # noqa: E402
from tests.support.study_records import SIZES, TWO_BY_TWO, VGG, effect, make_study  # noqa: E402

EVIL = "<script>alert('1')</script>|$x_1$ & \\b {é} 5% #```"
VOID = {"meta", "path", "use", "rect"}
QUESTIONS = {
    "comparisons": [
        {"factor": "attention", "baseline": "none"},
        {"factor": "activation", "baseline": "relu"},
    ],
    "interactions": [{}],
}


class Page(HTMLParser):
    """Parsed page: tags with their attributes, the text, and unclosed tags."""

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


def measured(record, run):
    """Add layers, copies and a structure, as in the record of a real run."""
    elu = run.factors["activation"] == "elu"
    layer = {"kind": "ELU" if elu else "ReLU", "variance": 1.0, "fraction_negative": 0.5}
    record["activations"] = [{"layer": name, "mean": 0.1 if elu else 0.4, **layer} for name in ("a", "b")]
    record["test_new"] = {**record["test"], "accuracy": record["test"]["accuracy"] - 0.02}
    record["data"]["copies"] = 20 + run.seed
    record["config"]["structure"] = {"width": 0.25}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of attention and activation with a damaged run and training problems."""
    folder = tmp_path_factory.mktemp("study")

    def change(record, run):
        measured(record, run)
        record["warnings"] = (
            ["vanishing gradients"] if run.factors["attention"] == "se" and not run.seed else []
        )

    store = make_study(folder, TWO_BY_TWO, effect=effect, change=change, seeds=6, **QUESTIONS)
    runs = store.manifest().runs
    (store.run_folder(runs[-1].id) / PREDICTIONS).write_bytes(b"cut off")
    return folder


@pytest.fixture(scope="module")
def analysis(folder):
    return analyse_folder(folder)


@pytest.fixture(scope="module")
def written(folder):
    """The folder of its report."""
    return write_report(folder).parent


CASES = {
    "one run": ({"backbone": "vgg11"}, {"seeds": 1}),
    "one condition": ({"backbone": "vgg11"}, {}),
    "one run of each condition": (TWO_BY_TWO, {"seeds": 1, **QUESTIONS}),
    "identical runs": (TWO_BY_TWO, {"effect": lambda *_: 0.0, **QUESTIONS}),
    "sizes": (SIZES, {}),
    "two sets in folds": (VGG, {"seeds": 2, "folds": 3, "data": ("ck+", "c k")}),
    "hostile names": (
        {**VGG, "setting": {EVIL: {}, "b": {"epochs": 3}}},
        {
            "title": EVIL,
            "question": EVIL,
            "data": (EVIL,),
            "interactions": [{"first": "attention", "second": "setting"}],
            "change": lambda record, run: record.update(warnings=[EVIL]),
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_study_renders(case, tmp_path):
    factors, options = CASES[case]
    make_study(tmp_path, factors, **{"effect": effect, "change": measured, **options})
    html = write_report(tmp_path, tmp_path / "deep" / "er")
    text = html.read_text()
    page = Page(text)
    assert page.stack == []
    assert "script" not in {tag for tag, _ in page.tags}
    for placeholder in ("nan", "None", "{{", "()"):
        assert placeholder not in page.text.replace("null", "")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    markdown = html.with_name("report.md").read_text()
    tables = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    assert len(tables) == len(list(html.parent.glob("tables/*.tex")))
    for table in tables:
        bare = [re.sub(r"\\.", "", line) for line in table.splitlines()]
        assert len({line.count("|") for line in bare}) == 1
    shown = re.findall(r"\]\((plots/[^)]*)\)", markdown)
    plots = list(html.parent.glob("plots/*"))
    assert sorted(shown) == sorted(f"plots/{path.name}" for path in plots)
    assert text.count('role="img"') == len(plots) / 2
    bare = re.sub(r"^(`{3,}).*?^\1$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    bare = re.sub(
        r'^(<details markdown="1">|<summary>[^<]*</summary>|</details>)$', "", bare, flags=re.MULTILINE
    )
    assert "<" not in bare


def test_the_page_is_self_contained(written):
    text = (written / "report.html").read_text()
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


def test_reports_are_reproducible_byte_by_byte(folder, written, tmp_path):
    write_report(folder, tmp_path)
    first = {path.relative_to(written): path for path in written.rglob("*.*")}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} == set(first)
    for name, path in first.items():
        assert (tmp_path / name).read_bytes() == path.read_bytes(), name


def test_the_first_screen_is_a_finding_one_table_and_one_figure(analysis, written):
    page = (written / "report.html").read_text().split("<body>")[1]
    first, _, rest = page.partition('<details class="part">')
    found = re.search(r'<h2 id="finding">(.*?)</h2>', first)[1]
    assert found == "In these runs, SE is more accurate than no attention and ELU than ReLU."
    assert "<li>Limits: one data set, fer2013; networks of 0.25 times the usual width;" in first
    assert [first.count(part) for part in ("<h1>", "<h2", "<table>", "<svg")] == [1, 1, 1, 1]
    headings = re.findall(r'<summary><h2 id="[a-z]+">(.*?)</h2></summary>', rest)
    assert rest.count("<h2") == len(headings) >= 8
    assert not set(" ".join(headings).lower().split()) & {
        "conditions",
        "interaction",
        "bias",
        "pareto",
        "holm",
    }
    markdown = (written / "report.md").read_text()
    lead, *parts = markdown.split('\n<details markdown="1">\n')
    assert len(parts) == len(headings)
    assert lead.count("](plots/answer.png)") == lead.count("| comparison |") == lead.count("\n## ") == 1
    rows = report_tables(with_readable_names(analysis))["answer"].frame
    assert rows["answer"].tolist() == ["better", "better"]
    assert rows["comparison"].tolist() == ["SE vs. no attention", "ELU vs. ReLU"]


def test_every_part_below_the_first_screen_is_folded(written):
    tags = [
        attributes for tag, attributes in Page((written / "report.html").read_text()).tags if tag == "details"
    ]
    assert len(tags) >= 8
    assert not any("open" in attributes for attributes in tags)


def test_page_and_markdown_contain_every_cell_of_every_table(analysis, written):
    page = Page((written / "report.html").read_text()).text
    markdown = (written / "report.md").read_text()
    for table in report_tables(with_readable_names(analysis)).values():
        latex = (written / "tables" / f"{table.name}.tex").read_text()
        assert latex.count(r"\\") == len(table.frame) + 1
        assert r"\begin{table}" in latex
        assert MINUS not in latex
        for cell in {*table.frame.columns, *table.frame.to_numpy().ravel()}:
            assert cell in page
            assert cell.replace("|", r"\|").replace("<", "&lt;") in markdown


def test_printed_tables_match_the_analysis(analysis):
    tables = report_tables(analysis)
    conditions = tables["conditions-1"].frame
    for row, one in zip(conditions.to_dict("records"), analysis.conditions.itertuples(), strict=True):
        runs = analysis.runs[analysis.runs["condition"] == one.condition]["test_accuracy"]
        assert (row["condition"], row["runs"]) == (one.condition, f"{len(runs)}")
        assert (row["accuracy %"], row["sd"]) == (f"{runs.mean() * 100:.2f}", f"{runs.std() * 100:.2f}")
        assert row["95 % interval"] == f"{one.low * 100:.2f} to {one.high * 100:.2f}"
        assert row["without copies %"] == f"{(runs.mean() - 0.02) * 100:.2f}"
    compared = tables["comparisons-1"].frame
    rows = analysis.comparisons[analysis.comparisons["family"] == 1]
    assert compared["difference, points"].tolist() == [numbers.points(value) for value in rows["mean"]]
    assert compared["non-inferior"].tolist() == [
        "yes" if p < 0.05 else "not shown" for p in rows["p_not_worse"]
    ]
    assert compared["p not worse"].tolist() == [numbers.p_value(value) for value in rows["p_not_worse"]]
    assert compared["verdict"].tolist() == rows["verdict"].tolist()


def test_csv_tables_have_full_precision_and_follow_from_the_records(analysis, written):
    records = pd.read_csv(written / "records.csv")
    assert records["id"].tolist() == analysis.runs["id"].tolist()
    found = answers(analysis.study, records)
    for name in ("conditions", "comparisons", "interactions", "contrasts", "costs"):
        stored = pd.read_csv(written / "tables" / f"{name}.csv", keep_default_na=True)
        for column in getattr(found, name).select_dtypes("number"):
            again, first = getattr(found, name)[column].tolist(), getattr(analysis, name)[column].tolist()
            assert again == pytest.approx(first, nan_ok=True, rel=1e-12)
            assert stored[column].tolist() == pytest.approx(first, nan_ok=True, rel=1e-12)


def test_the_summary_states_decisions_with_intervals_and_n(analysis, written):
    text = (written / "report.md").read_text().replace("&lt;", "<")
    se = analysis.comparisons.iloc[0]
    assert text.splitlines()[4] == (
        "## In these runs, SE is more accurate than no attention and ELU than ReLU."
    )
    assert (
        f"- SE vs. no attention: {numbers.points(se['mean'])} points (95 % interval "
        f"{numbers.points(se.low)} to {numbers.points(se.high)}, n = 5 pairs, "
        f"Holm-adjusted p {numbers.equals(se.p_holm)}). It is better."
    ) in text
    overall = analysis.interactions.iloc[0]
    assert f"F(1, {overall.df_residual}) = {overall.f:.2f}, p {numbers.equals(overall.p)}" in text
    contrast = analysis.contrasts.iloc[0]
    assert (
        f"- SE with ELU: {numbers.points(contrast['mean'])} points compared with the sum of both gains"
        in text
    )
    assert "1.000 times the parameters" in text
    assert "over 2 layers, differs from zero by 0.400 with ReLU (12 runs) and by 0.100 with ELU" in text
    assert "- Highest mean on fer2013: SE, ELU with" in text


def test_the_report_states_missing_runs_problems_and_limitations(written):
    text = (written / "report.md").read_text()
    for words in (
        "- 23 of 24 planned runs are finished: 4 conditions, 6 seeds.",
        "- 1 planned run is not finished.",
        "- 1 run with damaged files is excluded.",
        "- Training problems were detected in 2 of 23 runs; see below.",
        "All results are from one data set, fer2013",
        "The models have 0.25 times the usual number of channels",
        "seed 0, fold 0: vanishing gradients",
        "does not match the hash in the record",
        "20 to 25 test images are pixel-identical to training images.",
        "fingerprint ",
        "device cpu: x86_64",
        "- 0, 1, 2, 3, 4, 5, for initialisation, order, augmentation;",
        "```sh\nfer-attention study run study.yaml --output DIR --data fer2013=PATH",
    ):
        assert words in text, words


def test_plot_files_are_white_and_inline_plots_use_page_colours(written):
    for path in written.glob("plots/*"):
        if path.suffix == ".png":
            picture = np.asarray(Image.open(path).convert("RGB"))
            assert picture[0, 0].tolist() == [255, 255, 255]
            assert picture.std() > 5  # not empty
        else:
            assert 'fill="white"' in path.read_text()
    assert (
        "#1d2430" not in (written / "report.html").read_text().split("</style>")[1]
    )  # a variable in dark mode


def test_a_study_without_finished_runs_has_no_report(tmp_path):
    store = make_study(tmp_path, VGG, without=lambda run: True)
    with pytest.raises(StudyError, match=r"No run of the study is finished"):
        write_report(store.folder)
    assert not (tmp_path / "report").exists()
