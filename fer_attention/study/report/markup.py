"""One table as Markdown and LaTeX, and the escaping of both; HTML is escaped by its template."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from fer_attention.study.report.document import Table

LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\N{MINUS SIGN}": "$-$",
    "–": "--",
    "×": r"$\times$",
    "²": "$^2$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "η": r"$\eta$",
    "α": r"$\alpha$",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{NO-BREAK SPACE}": "~",
    "[": "{[}",  # a row that begins with one would be read as the argument of the line break before it
    "]": "{]}",
}

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def linked(text: str) -> Markup:
    """HTML of a text, with arXiv numbers as links and no line break before a % sign."""
    text = text.replace(" %", "\N{NARROW NO-BREAK SPACE}%")
    return Markup(ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', str(escape(text))))  # noqa: S704


def markdown_text(text: str) -> str:
    """Text that GitHub's Markdown shows as it is, with arXiv numbers as links."""
    text = re.sub(r"([\\`*\[\]|~$#!])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # within a word it is no mark
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = " ".join(text.split())
    return ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def markdown_table(table: Table) -> str:
    """The cells as a table of GitHub's Markdown; title and note are the template's."""
    lines = [
        [markdown_text(column.heading) for column in table.columns],
        [":--" if column.text else "--:" for column in table.columns],
        *([markdown_text(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex_text(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))


def latex_table(table: Table) -> str:
    r"""A `table` to \\input; it needs the package booktabs."""
    kinds = "".join("l" if column.text else "r" for column in table.columns)
    rows = [rf"{' & '.join(latex_text(cell) for cell in row)} \\" for row in table.rows]
    headings = " & ".join(latex_text(column.heading) for column in table.columns)
    note = rf"\par\smallskip{{\footnotesize {latex_text(table.note)}\par}}" if table.note else ""
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}",
        r"\begin{table}[tbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{latex_text(table.title)}}}\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        rf"{headings} \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *([note] if note else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
