"""HTML of the page, from templates. Pictures are embedded, so that none needs a file."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import Any

from jinja2 import PackageLoader
from PIL import Image

from fer_attention.rendering.page import html_templates, style_sheet

TITLE = "Facial expressions, as a network sees them"


def render(part: str, **values: Any) -> str:
    """Render a part of the page: `head`, `responsible_use`, `hint`, `empty`, `message` or `result`.

    Args:
        part: A macro of `templates/page.html.jinja`.
        values: Its arguments; text is escaped.
    """
    return str(getattr(_page(), part)(**values)).strip()


@cache
def _page() -> Any:
    environment = html_templates(PackageLoader("fer_attention.demo"))
    environment.globals["style"] = style_sheet("fer_attention.demo", "templates/style.css")
    environment.filters |= {"jpeg": _jpeg, "link": _link}
    environment.filters |= {"percent": _percent, "milliseconds": _milliseconds, "data_uri": _data_uri}
    return environment.get_template("page.html.jinja").module


def _percent(value: float) -> str:
    return "<1 %" if 0 < value < 0.005 else f"{value * 100:.0f} %"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _data_uri(picture: Image.Image) -> str:
    return _link(_jpeg(picture), "image/jpeg")


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return file.getvalue()


def _link(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
