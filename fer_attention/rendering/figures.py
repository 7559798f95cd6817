"""Figures for pages and files, in the page's colours for light, dark and print."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from fer_attention.optional import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, ACCENT, WARM, CARD = "#1d2430", "#667085", "#2563a8", "#d1622b", "#fefefe"
SERIES = ("#2462a9", "#d1632b", "#2a8a57", "#8a4fb0", "#b58a00", "#0e8fa3", "#c23b6b", "#6d7a2f")
"""Colours of several lines in one plot. Dark pages replace them by brighter ones."""

# matplotlib has no CSS variables: in a page, each colour of the light page becomes one.
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    ACCENT: "var(--accent)",
    WARM: "var(--warm)",
    CARD: "var(--card)",
} | {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)}


def new_figure(width: float, height: float) -> Figure:
    """Create an empty, transparent figure of a size in inches; ImportError without matplotlib."""
    with needs_extra("train", "The plots need matplotlib"):
        from matplotlib.figure import Figure  # not pyplot, which has global state
    return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def plain(axes: Axes) -> None:
    """Style axes in the page's colours, without a frame at the top and right."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=INK, size=9.5)
    axes.title.set(color=INK, size=9.5)


def svg_of(figure: Figure, salt: str) -> str:
    """Draw a figure as SVG; the same figure and salt give the same text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def svg_file(svg: str) -> str:
    """Return the text of an SVG file on white."""
    end = svg.index(">", svg.index("<svg")) + 1
    return f'{svg[:end]}\n <rect width="100%" height="100%" fill="white"/>{svg[end:]}'


def png_file(figure: Figure, *, dpi: int = 144) -> bytes:
    """Return the bytes of a PNG file on white, with `dpi` pixels per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def inline_svg(svg: str, prefix: str) -> str:
    """Return an inline `<svg>` without prolog and addresses, whose ids begin with `prefix`."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)  # not needed inside HTML, where it would look like a link
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}-", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)  # use the page's font
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg
