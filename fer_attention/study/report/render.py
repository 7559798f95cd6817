"""A document as one HTML page, as Markdown, and its plots as files."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined

from fer_attention.evaluation.figures import inline_svg, png_file, svg_file
from fer_attention.evaluation.page import render_page
from fer_attention.study.report.document import Document, Plot
from fer_attention.study.report.markup import linked, markdown_table, markdown_text


class Drawn(NamedTuple):
    """A plot in all its forms.

    Attributes:
        inline: For the page, in its colours.
        svg: A file, on white.
        png: A file, on white.
    """

    inline: str
    svg: str
    png: bytes


def draw(plot: Plot) -> Drawn:
    """Draw a plot once, and save it in every form."""
    figure = plot.draw()
    return Drawn(inline_svg(figure, plot.name), svg_file(figure, plot.name), png_file(figure))


def html(document: Document, drawn: dict[str, Drawn]) -> str:
    """One page that needs nothing from elsewhere: no script, font or image, styles and plots inside."""
    return render_page(_template("report.html.jinja"), document=document, drawn=drawn, linked=linked)


def markdown(document: Document) -> str:
    """The same for GitHub; plots lie in `plots/` beside it."""
    # No autoescape, since it is no HTML: the template escapes every name for Markdown.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    template = environment.from_string(_template("report.md.jinja"))
    text = template.render(document=document, text=markdown_text, markdown_table=markdown_table, fence=_fence)
    return text.strip() + "\n"


def _template(name: str) -> str:
    folder = resources.files("fer_attention.study.report") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _fence(code: str) -> str:
    """Backticks, more than the code itself has in a row."""
    longest = 2
    while "`" * (longest + 1) in code:
        longest += 1
    return "`" * (longest + 1)
