"""Self-contained HTML pages: one style for all reports, in light, dark and print."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


def render_page(template: str, **values: Any) -> str:
    """A page from a Jinja template; text is escaped, a name without a value is an error.

    Args:
        template: Its text. `style` in it is the common style sheet.
        values: What else it names.
    """
    style = (resources.files("fer_attention.rendering") / "page.css").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # The style sheet is the package's own text, and quotes in it must stay quotes.
    return environment.from_string(template).render(style=Markup(style), **values)  # noqa: S704
