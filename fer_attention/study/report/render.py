"""Rendering of an analysis as an HTML page and as Markdown: one text (`report.jinja`), two writers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from fer_attention.rendering.figures import inline_svg
from fer_attention.rendering.page import render_page
from fer_attention.study.analysis import StudyAnalysis
from fer_attention.study.analysis.runs import varied_factors
from fer_attention.study.paper import paper_protocol, paper_remark
from fer_attention.study.report.names import renamed_levels
from fer_attention.study.report.numbers import FILTERS
from fer_attention.study.report.plots import Plot
from fer_attention.study.report.tables import TEXT, ReportTable, groups

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
LOADER = PackageLoader("fer_attention.study.report", "templates")

Tables = Mapping[str, ReportTable]
Plots = Mapping[str, Plot]


def html(analysis: StudyAnalysis, tables: Tables, plots: Plots, drawn: Mapping[str, str]) -> str:
    """Render a self-contained page: styles and plots inside, no scripts, fonts or external images."""
    filters = {"text": html_text, "inline": lambda plot: Markup(inline_svg(drawn[plot.name], plot.name))}  # noqa: S704
    body = _render("html.jinja", analysis, tables, plots, filters, autoescape=True)
    return render_page(
        LOADER.get_source(Environment(autoescape=True), "page.jinja")[0],
        title=analysis.study.title,
        body=Markup(body),  # noqa: S704  (escaped by its template)
    )


def markdown(analysis: StudyAnalysis, tables: Tables, plots: Plots) -> str:
    """Render Markdown for GitHub, with links to the plots in `plots/`."""
    text = _render("markdown.jinja", analysis, tables, plots, {"text": markdown_text}, autoescape=False)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _render(
    writer: str,
    analysis: StudyAnalysis,
    tables: Tables,
    plots: Plots,
    filters: dict[str, Callable[..., Any]],
    *,
    autoescape: bool,
) -> str:
    environment = Environment(
        loader=LOADER,
        autoescape=autoescape,  # noqa: S701  (Markdown is not HTML: its writer escapes every text)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, **filters, "groups": groups, "items": _items, "fence": _fence}
    environment.globals |= {"left": TEXT, "paper_protocol": paper_protocol, "paper_remark": paper_remark}
    study = analysis.study
    fields = study.model_dump(mode="json", exclude={"data": {"__all__": {"path"}}}, exclude_defaults=True)
    data_options = " ".join(
        f"--data {name}=PATH" for name, one in study.data.items() if one.data_format != "synthetic"
    )
    structure = {} if "setting" in varied_factors(study) else analysis.recipe.get("structure") or {}
    return environment.get_template("report.jinja").render(
        writer=writer,
        analysis=analysis,
        tables=tables,
        plots=plots,
        warned=len({title for title, _ in analysis.warnings}),
        renamed=renamed_levels(study),
        width=structure.get("width", 1.0),
        devices=sorted({str(one.get("device", "an unknown device")) for one in analysis.environments}),
        commands=f"fer-attention study run study.yaml --output DIR {data_options}".strip()
        + "\nfer-attention study report DIR",
        study_yaml=_yaml(fields),
        recipe_yaml=_yaml(analysis.recipe),
    )


def _items(text: str) -> list[str]:
    """Split a text into list items, each after a star at the start of a line; they have the text's type."""
    return [type(text)(" ".join(item.split())) for item in re.split(r"(?m)^\s*\* ", text) if item.strip()]


def html_text(text: str) -> Markup:
    """Convert text to HTML, with arXiv numbers as links and no line break before a % sign."""
    escaped = str(escape(text)).replace(" %", "\N{NARROW NO-BREAK SPACE}%")
    return Markup(ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', escaped))  # noqa: S704


def markdown_text(text: str) -> str:
    """Escape text for GitHub's Markdown, with arXiv numbers as links."""
    text = re.sub(r"([\\`*\[\]|~$#!])", r"\\\1", text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # within a word it is literal
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", " ".join(text.split()))


def _fence(code: str) -> str:
    """Return a fence of more backticks than any run of them in the code."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))


def _yaml(fields: object) -> str:
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100).strip()
