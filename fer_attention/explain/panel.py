"""Panels for readers: a photo, a legend, and for each face what the network sees, uses and answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_attention.explain.attention_maps import AttentionMap
from fer_attention.explain.drawing import overlay
from fer_attention.explain.faces import Explanation
from fer_attention.explain.grad_cam import CLASSES
from fer_attention.faces import ImageSource, load_image
from fer_attention.optional import needs_extra
from fer_attention.rendering.figures import ACCENT, INK, MUTED, SERIES, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLAT = 1e-4
"""Smallest relative spread of spatial weights to colour; smaller ones are rounding errors."""

TEXT, ANSWER = 11, 13
"""Sizes of text in points, readable when the panel is shown at half its width."""

# Lengths in inches.
WIDTH, MARGIN, HEADER, TITLES, SIDE, GAP, STRIP = 9.0, 0.25, 2.9, 0.3, 1.75, 0.25, 1.75
MIDDLE, RIGHT = MARGIN + SIDE + 0.15, MARGIN + 2 * SIDE + 0.45
"""Left ends of the maps and of the answers; the crops begin at the margin."""

BARS = 5
MARKED, UNMARKED, BADGE = ACCENT, "#b8c4d6", "#ffd23f"


class Sheet:
    """Figure whose parts are placed in inches from its upper left corner."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure: Figure = new_figure(WIDTH, height)
        self.figure.set_layout_engine("none")
        self.figure.set_facecolor("white")  # also in `savefig`, since photos do not follow a page's theme

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes with this upper left corner and size."""
        bottom = self.height - top - height
        return self.figure.add_axes((left / WIDTH, bottom / self.height, width / WIDTH, height / self.height))

    def picture(self, picture: Image.Image, left: float, top: float, width: float, height: float) -> Axes:
        """Draw a picture into a box, without a frame."""
        axes = self.axes(left, top, width, height)
        axes.imshow(np.asarray(picture.convert("RGB")))
        axes.set_axis_off()
        return axes

    def write(self, text: str, left: float, top: float, **look: Any) -> None:
        """Write literal text below and to the right of a point."""
        shown: dict[str, Any] = {"fontsize": TEXT, "color": INK, "va": "top", "parse_math": False, **look}
        self.figure.text(left / WIDTH, 1 - top / self.height, text, **shown)


def explanation_panel(
    photo: ImageSource, explanations: Sequence[Explanation], *, attention: bool = False
) -> Figure:
    """Draw a photo with its faces, a legend, and a row for each explanation.

    A row shows the crop, the class activation map over it, and the answer with its most probable emotions.
    Rows are several faces of a photo, or one face explained by several models.

    >>> recognizer = EmotionRecognizer.from_pretrained()  # doctest: +SKIP
    >>> panel = explanation_panel("photo.jpg", explain_faces(recognizer, "photo.jpg"))  # doctest: +SKIP
    >>> panel.savefig("panel.png", dpi=144)  # doctest: +SKIP

    Args:
        photo: Path, array or PIL image of the photo.
        explanations: From `explain_faces` or `explain_predictions`, all of this photo.
        attention: Also draw the attention of the last block of each stage, below each row.

    Raises:
        ValueError: `explanations` is empty.
        ImportError: matplotlib is not installed: `fer_attention[explain]`.
    """
    if not explanations:
        raise ValueError("A panel needs at least one explanation; explain_faces found no face.")
    with needs_extra("explain", "Panels are drawn with matplotlib"):
        import matplotlib  # noqa: F401
    row_height = SIDE + GAP + (STRIP + GAP if attention else 0)
    sheet = Sheet(HEADER + TITLES + row_height * len(explanations))
    several = len({e.prediction.face.box for e in explanations}) > 1
    _photo(sheet, photo, explanations, numbered=several)
    _legend(sheet, explanations)
    for title, left in (
        ("What it sees", MARGIN),
        ("What it uses", MIDDLE),
        ("What it answers", RIGHT),
    ):
        sheet.write(title, left, HEADER, color=MUTED)
    limits = _channel_limits(explanations) if attention else None
    for row, explanation in enumerate(explanations):
        top = HEADER + TITLES + row * row_height
        _row(sheet, top, explanation, number=row + 1 if several else None)
        if limits is not None:
            _attention(sheet, top + SIDE + GAP, explanation, limits)
    return sheet.figure


def last_of_stages(attention: Sequence[AttentionMap]) -> list[list[AttentionMap]]:
    """Select the parts of the last block of each stage (maps of one shape), for the last four stages."""
    stages = []
    for _, group in groupby(attention, key=lambda found: found.map_shape):
        maps = list(group)
        stages.append([found for found in maps if found.layer == maps[-1].layer])
    return stages[-4:]


def _photo(sheet: Sheet, photo: ImageSource, explanations: Sequence[Explanation], *, numbered: bool) -> None:
    from matplotlib.patches import Rectangle

    image = load_image(photo)
    width, height = image.size
    image.thumbnail((1200, 1200))
    axes = sheet.axes(MARGIN, 0.2, RIGHT - MARGIN - 0.3, HEADER - 0.45)
    axes.imshow(np.asarray(image), extent=(0, width, height, 0))
    axes.set_axis_off()
    axes.set_anchor("NW")
    for number, face in enumerate(dict.fromkeys(e.prediction.face for e in explanations), start=1):
        x1, y1, x2, y2 = face.box
        for colour, line in (("#18181b", 3.2), (BADGE, 1.6)):
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=colour, linewidth=line))
        if numbered:
            _badge(
                axes, str(number), min(max(x1, 0), width), min(max(y1, 0), height), va="center", ha="center"
            )


def _badge(axes: Axes, text: str, x: float, y: float, **look: Any) -> None:
    box = {"boxstyle": "round,pad=0.15", "facecolor": look.pop("facecolor", BADGE), "edgecolor": "none"}
    axes.text(x, y, text, fontsize=TEXT, color="#18181b", bbox=box, parse_math=False, **look)


def _legend(sheet: Sheet, explanations: Sequence[Explanation]) -> None:
    method = {**CLASSES, "gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}[explanations[0].method]
    answers = all(e.target == e.prediction.emotion for e in explanations)
    rests = "Red: the answer rests on this region." if answers else "Red: this region speaks for the emotion."
    sheet.write("How to read this", RIGHT, 0.2, fontsize=ANSWER, fontweight="bold")
    sheet.write(rests, RIGHT, 0.52)
    scale = np.full((1, 256), 150, np.uint8)
    bar = sheet.axes(RIGHT, 0.8, 3.6, 0.2)
    bar.imshow(np.asarray(overlay(scale, np.linspace(0, 1, 256, dtype=np.float32)[None])), aspect="auto")
    bar.set_axis_off()
    sheet.write("hardly used", RIGHT, 1.05, color=MUTED)
    sheet.write("used most", RIGHT + 3.6, 1.05, color=MUTED, ha="right")
    sheet.write("Blue bar: the model holds it possible.\nSeveral blue bars: it is unsure.", RIGHT, 1.4)
    note = f"Map: {method}, scaled for each face. It shows what\nthis model used, not what a person feels."
    sheet.write(note, RIGHT, 1.98, color=MUTED)


def _row(sheet: Sheet, top: float, explanation: Explanation, *, number: int | None) -> None:
    crop = sheet.picture(Image.fromarray(explanation.crop), MARGIN, top, SIDE, SIDE)
    if number is not None:
        _badge(crop, str(number), 0.05, 0.95, va="top", transform=crop.transAxes)
    seen = overlay(explanation.crop, explanation.cam)
    heat = sheet.picture(seen, MIDDLE, top, SIDE, SIDE)
    target = f"for {_short(explanation.target, 13)}"
    _badge(heat, target, 0.05, 0.95, va="top", transform=heat.transAxes, facecolor="white")
    name = explanation.model if number is None else f"Face {number}"
    sheet.write(_short(name, 46), RIGHT, top, color=MUTED)
    caption = _short(explanation.prediction.caption, 40)
    sheet.write(caption, RIGHT, top + 0.21, fontsize=ANSWER, fontweight="bold")
    _probabilities(sheet.axes(RIGHT + 1.4, top + 0.5, WIDTH - MARGIN - RIGHT - 1.4, SIDE - 0.5), explanation)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _probabilities(axes: Axes, explanation: Explanation) -> None:
    """Draw bars of the most probable emotions and of all others together; candidates are marked."""
    prediction = explanation.prediction
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    shown = ranked if len(ranked) <= BARS else ranked[: BARS - 1]
    rest = ranked[len(shown) :]
    bars = [(_short(name, 14), value, name in prediction.candidates) for name, value in shown]
    if rest:
        marked = any(name in prediction.candidates for name, _ in rest)
        bars.append((f"{len(rest)} others", sum(value for _, value in rest), marked))
    plain(axes)
    rows = range(len(bars))
    axes.barh(rows, [b[1] for b in bars], color=[MARKED if b[2] else UNMARKED for b in bars], height=0.72)
    for row, (_, value, _) in enumerate(bars):
        axes.text(min(value, 1.0) + 0.02, row, f"{value:.0%}", va="center", fontsize=TEXT, color=INK)
    axes.set(xlim=(0, 1.22), ylim=(BARS - 0.5, -0.5), xticks=[])
    axes.set_yticks(rows, [b[0] for b in bars])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(labelsize=TEXT, length=0)


def _channel_limits(explanations: Sequence[Explanation]) -> tuple[float, float]:
    """Compute a common scale for all channel attention of a panel."""
    stages = [maps for e in explanations for maps in last_of_stages(e.attention)]
    found = [one.channel for maps in stages for one in maps if one.channel is not None]
    low = min((float(one.min()) for one in found), default=0.0)
    high = max((float(one.max()) for one in found), default=1.0)
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin


def _attention(sheet: Sheet, top: float, explanation: Explanation, limits: tuple[float, float]) -> None:
    """Draw spatial attention over the crop, and one plot of the channel attention; either may be missing."""
    from matplotlib.ticker import MaxNLocator

    stages = last_of_stages(explanation.attention)
    spatial = [(maps[0], m.spatial) for maps in stages for m in maps if m.spatial is not None]
    channel = [(maps[0], m.channel) for maps in stages for m in maps if m.channel is not None]
    if not stages:
        sheet.write("No attention block", MARGIN, top, color=MUTED)
    if spatial:
        sheet.write("Positions that its attention amplifies (red)", MARGIN, top, color=MUTED)
    for number, (found, weights) in enumerate(spatial):
        left = MARGIN + number * 1.0
        heat = weights[0].numpy()
        sheet.picture(_spatial(explanation.crop, heat), left, top + 0.25, 0.9, 0.9)
        sheet.write(f"{_size(found)}\n{heat.min():.2f}–{heat.max():.2f}", left, top + 1.2)
    if channel:
        left = RIGHT + 0.25 if spatial else MARGIN + 0.45
        sheet.write("Channel weights, sorted", left - 0.1, top, color=MUTED)
        axes = sheet.axes(left + 0.3, top + 0.32, 2.4 if spatial else 5.5, STRIP - 0.5)
        plain(axes)
        for number, (found, weights) in enumerate(channel):
            values = np.sort(weights[0].numpy())
            axes.plot(
                np.linspace(0, 1, len(values)), values, color=SERIES[number], linewidth=2, label=_size(found)
            )
        ticks = MaxNLocator(3).tick_values(*limits)
        axes.set(ylim=limits, xticks=[], yticks=[tick for tick in ticks if limits[0] <= tick <= limits[1]])
        axes.tick_params(labelsize=TEXT, length=2)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=TEXT)


def _size(found: AttentionMap) -> str:
    _, height, width = found.map_shape
    return f"{height}×{width}"


def _spatial(crop: NDArray[np.uint8], weights: NDArray[np.float32]) -> Image.Image:
    if (spread := np.ptp(weights)) <= FLAT * weights.max():
        return Image.fromarray(crop)
    return overlay(crop, np.clip((weights - weights.min()) / spread, 0, 1))
