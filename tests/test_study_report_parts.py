"""The parts that a study's report is made of: numbers in words, tables in three languages, sentences."""

import math
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.study.report.document import Bullets, Code, Column, Document, Section, Table, Text
from fer_attention.study.report.export import jsonable
from fer_attention.study.report.markup import (
    latex_table,
    latex_text,
    linked,
    markdown_table,
    markdown_text,
)
from fer_attention.study.report.render import html, markdown
from fer_attention.study.report.sentence import ranged, say
from fer_attention.study.report.wording import (
    MINUS,
    MISSING,
    count,
    listed,
    millions,
    p_value,
    percent,
    points,
    short,
    span,
)

EVIL = r"""<b onload="x">a|b & \c {d} $e$ #f 5% _g_ ^h ~i *j* `k` [l](m) é × −</b>"""


def table(*cells, note=""):
    return Table("a-table", "A title", (Column("name", text=True), Column("value")), tuple(cells), note)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (percent(0.63204), "63.20"),
        (percent(None), MISSING),
        (percent(0.0), "0.00"),
        (points(0.006), "+0.60"),
        (points(-0.0123), f"{MINUS}1.23"),
        (points(-0.00001), "0.00"),
        (points(0.0), "0.00"),
        (points(None), MISSING),
        (p_value(0.0004), "< 0.001"),
        (p_value(0.11), "0.110"),
        (p_value(1.0), "1.000"),
        (p_value(None), MISSING),
        (span(-0.002, 0.014, points), f"{MINUS}0.20 to +1.40"),
        (span(None, 0.5), MISSING),
        (count(3589), "3,589"),
        (millions(23_654_321), "23.65"),
        (millions(713_900), "0.714"),
        (short(3), "3.00"),
        (short(23.76), "23.8"),
        (short(99.96), "100"),
        (short(1234.4), "1,234"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_are_printed_in_one_way(text, wanted):
    assert text == wanted


def test_a_sentence_keeps_the_numbers_and_names_that_it_prints():
    made = say("x", "{who}: {gain:points} of {n:n}, p {p:p}", who="eca, 5", gain=-0.012, n=1234, p=0.0001)
    assert made.text == f"eca, 5: {MINUS}1.20 of 1,234, p < 0.001"
    assert made.numbers == {"gain": -0.012, "n": 1234, "p": 0.0001}
    assert made.names == {"who": "eca, 5"}


def test_a_sentence_refuses_a_number_without_a_form_and_a_form_that_is_none():
    with pytest.raises(ValueError, match="needs a form"):
        say("x", "{n}", n=3)
    with pytest.raises(KeyError, match="furlongs"):
        say("x", "{n:furlongs}", n=3)


def test_counts_that_differ_are_printed_as_a_range():
    text, values = ranged("images", [7, 9, 8])
    assert say("x", text, **values).text == "7 to 9"
    text, values = ranged("images", [7, 7])
    assert say("x", text, **values).text == "7"


def test_a_table_refuses_rows_of_another_length_and_names_that_are_no_file():
    with pytest.raises(ValueError, match="a row of 3 cells for 2 columns"):
        table(("a", "1", "2"))
    with pytest.raises(ValueError, match="not '../a'"):
        Table("../a", "t", (Column("a"),), ())


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=4))
def test_markdown_rows_have_as_many_cells_whatever_the_names(rows):
    lines = markdown_table(table(*rows)).split("\n")
    assert len(lines) == 2 + len(rows)
    for line in lines:
        bare = re.sub(r"\\.", "", line)
        assert bare.count("|") == 3
        assert "<" not in bare


def test_markdown_shows_marks_as_they_are():
    assert markdown_text("resnetv2_18_cbam") == "resnetv2_18_cbam"
    assert markdown_text("_a_ *b* `c` <d> |e| [f](g)") == r"\_a\_ \*b\* \`c\` &lt;d&gt; \|e\| \[f\](g)"
    assert markdown_text("see arXiv:2410.17740.") == (
        "see [arXiv:2410.17740](https://arxiv.org/abs/2410.17740)."
    )


def test_html_escapes_text_and_links_only_arxiv():
    made = str(linked('<a href="https://x.org">https://x.org</a> arXiv:2410.17740, 5 %'))
    assert "<a href=" in made
    assert re.findall(r'href="([^"]*)"', made) == ["https://arxiv.org/abs/2410.17740"]
    assert "5\N{NARROW NO-BREAK SPACE}%" in made


def test_latex_escapes_what_has_a_meaning_there():
    assert latex_text("50 % of a_b & {c} #1 ~ ^ $x$") == (
        r"50 \% of a\_b \& \{c\} \#1 \textasciitilde{} \textasciicircum{} \$x\$"
    )
    assert latex_text(f"{MINUS}0.20 – 3×") == r"$-$0.20 -- 3$\times$"


def test_a_latex_table_has_a_rule_above_and_below_and_a_cell_for_each_column():
    lines = latex_table(table(("a", "1"), ("b & c", "2"), note="5 % of them")).splitlines()
    assert r"\begin{tabular}{lr}" in lines
    rows = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert rows == [r"a & 1 \\", r"b \& c & 2 \\"]
    assert r"5 \% of them" in "\n".join(lines)


def test_latex_tables_compile(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex")
    (tmp_path / "a.tex").write_text(latex_table(table((EVIL, "1"), ("[x]", "2"), note=EVIL)))
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\usepackage[T1]{fontenc}"
        r"\begin{document}\input{a}\end{document}"
    )
    result = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=batchmode", "main.tex"], cwd=tmp_path, check=False
    )
    assert result.returncode == 0, (tmp_path / "main.log").read_text(errors="replace")[-2000:]


def evil_document():
    blocks = (
        table((EVIL, "1"), note=EVIL),
        Text(EVIL, heading=EVIL),
        Bullets((EVIL,), heading=EVIL),
        Code(f"{EVIL}\n```\n</pre>", heading=EVIL, language="yaml"),
    )
    return Document(EVIL, EVIL, (Section("one", EVIL, blocks),))


def test_no_name_becomes_a_tag_of_the_page():
    page = html(evil_document(), {})
    assert "onload=" not in re.sub(r"&lt;b onload=", "", page)
    assert "<b" not in page.replace("<body", "")
    assert page.count("</pre>") == 1


def test_code_in_markdown_cannot_end_its_own_fence():
    text = markdown(evil_document())
    assert "````yaml" in text
    assert "<b onload" not in text.split("````")[0] + text.split("````")[2]


def test_json_holds_records_arrays_and_tables_and_no_nan():
    frame = pd.DataFrame({"f": [1.5, math.nan]}, index=pd.Index(["a", "b"], name="effect"))
    value = {"x": (np.float64(0.1), math.inf), "y": np.array([1, 2]), "z": frame, "t": table(("a", "1"))}
    made = jsonable(value)
    assert made["x"] == [0.1, None]
    assert made["y"] == [1, 2]
    assert made["z"] == [{"effect": "a", "f": 1.5}, {"effect": "b", "f": None}]
    assert made["t"]["rows"] == [["a", "1"]]
    with pytest.raises(TypeError, match="SimpleNamespace"):
        jsonable(SimpleNamespace())
