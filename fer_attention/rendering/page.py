"""Self-contained HTML pages, one style for all reports in light, dark and print; and Markdown pages."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup


def html_templates(loader: BaseLoader | None = None) -> Environment:
    """Create a Jinja environment for HTML, which escapes text and refuses names without a value."""
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def markdown_templates(loader: BaseLoader, *, digits: int = 1) -> Environment:
    """Create a Jinja environment for Markdown, which refuses names without a value.

    Its filter `percent` formats a share as a percentage, with this number of digits unless told otherwise.
    """
    environment = Environment(  # noqa: S701  (Markdown)
        loader=loader,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share, digits=digits: f"{share * 100:.{digits}f}"
    return environment


def style_sheet(package: str, path: str) -> Markup:
    """Read a style sheet of the package as markup, which is not escaped."""
    return Markup(resources.files(package).joinpath(path).read_text("utf-8"))  # noqa: S704 - our own text


def render_page(template: str, **values: Any) -> str:
    """Render a page from a Jinja template.

    Args:
        template: Text of the template. `style` in it is the common style sheet.
        values: Values of its other names.
    """
    style = style_sheet("fer_attention.rendering", "page.css")
    return html_templates().from_string(template).render(style=style, **values)
