"""Heat maps over images, and panels that show what models looked at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fer_attention.explain.attention_maps import AttentionMap
from fer_attention.explain.faces import Explanation
from fer_attention.explain.grad_cam import CLASSES
from fer_attention.faces import ImageSource, annotate, load_image
from fer_attention.optional import needs_extra
from fer_attention.rendering.figures import ACCENT, INK, MUTED, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

FLAT = 1e-4
"""Smallest relative spread of spatial weights to colour; smaller ones are rounding errors."""


def overlay(
    image: NDArray[np.uint8] | Image.Image, heat: NDArray[np.float32], *, alpha: float = 0.5
) -> Image.Image:
    """Blend a heat map, in matplotlib's colour map "inferno", over an image.

    >>> overlay(np.zeros((48, 48), np.uint8), np.linspace(0, 1, 9, dtype=np.float32).reshape(3, 3)).size
    (48, 48)

    Args:
        image: Grey (H, W), RGB (H, W, 3) or a PIL image.
        heat: (h, w) in [0, 1]; it is resized bilinearly to the image's size.
        alpha: Opacity of the heat map, 0 (invisible) to 1.

    Returns:
        An RGB image of the same size.

    Raises:
        ValueError: The heat map is not two-dimensional with values in [0, 1], or alpha is outside [0, 1].
        ImportError: matplotlib is not installed: `fer_attention[explain]`.
    """
    heat = np.asarray(heat, dtype=np.float32)
    if heat.ndim != 2 or not heat.size:
        raise ValueError(f"heat must be a map (h, w); got an array of shape {heat.shape}.")
    if not (heat.min() >= 0 and heat.max() <= 1):
        raise ValueError(f"heat must be in [0, 1]; got {heat.min():.3g} to {heat.max():.3g}.")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1]; got {alpha}.")
    with needs_extra("explain", "Heat maps use the colour maps of matplotlib"):
        from matplotlib import colormaps
    picture = (image if isinstance(image, Image.Image) else Image.fromarray(image)).convert("RGB")
    resized = np.asarray(Image.fromarray(heat).resize(picture.size, Image.Resampling.BILINEAR))
    # perceptually uniform, also for colour-blind readers and in greyscale
    colours = colormaps["inferno"](resized, bytes=True)[..., :3]
    return Image.blend(picture, Image.fromarray(np.ascontiguousarray(colours)), alpha)


def explanation_panel(photo: ImageSource, explanations: Sequence[Explanation]) -> Figure:
    """Draw a photo with its faces, and a row for each explanation.

    A row shows the crop, the class activation map over it, the attention of the last block of each stage and
    the probabilities. Rows are several faces of a photo, or one face explained by several models.

    >>> recognizer = EmotionRecognizer.from_pretrained()  # doctest: +SKIP
    >>> panel = explanation_panel("photo.jpg", explain_faces(recognizer, "photo.jpg"))  # doctest: +SKIP
    >>> panel.savefig("panel.png", dpi=144)  # doctest: +SKIP

    Args:
        photo: Path, array or PIL image of the photo.
        explanations: From `explain_faces` or `explain_predictions`, all of this photo.

    Raises:
        ValueError: There is no explanation.
        ImportError: matplotlib is not installed: `fer_attention[explain]`.
    """
    if not explanations:
        raise ValueError("A panel needs at least one explanation; explain_faces found no face.")
    with needs_extra("explain", "Panels are drawn with matplotlib"):
        import matplotlib  # noqa: F401
    rows = [last_of_stages(explanation.attention) for explanation in explanations]
    stages = max(1, *map(len, rows))
    widths = [3.2, 1.5, 1.5, *[1.5] * stages, 2.1]
    figure = new_figure(sum(widths), max(1.95 * len(rows), 2.7) + 0.3)
    figure.set_facecolor("white")  # also in `savefig`, since photos do not follow a page's theme
    grid = figure.add_gridspec(len(rows), len(widths), width_ratios=widths)
    _photo(figure.add_subplot(grid[: min(2, len(rows)), 0]), photo, explanations)
    several = len({e.prediction.face.box for e in explanations}) > 1
    limits = _channel_limits(rows)
    for row, (explanation, shown) in enumerate(zip(explanations, rows, strict=True)):
        name = f"face {row + 1}" if several else explanation.model
        _picture(figure.add_subplot(grid[row, 1]), Image.fromarray(explanation.crop), name)
        seen = overlay(explanation.crop, explanation.cam)
        method = {**CLASSES, "gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}[explanation.method]
        _picture(figure.add_subplot(grid[row, 2]), seen, f"{method}: {explanation.target}")
        for column, maps in enumerate(shown):
            _, height, width = maps[0].map_shape
            title = f"{height}×{width} map"
            _attention(figure, grid[row, 3 + column], explanation.crop, maps, title=title, limits=limits)
        if not shown:
            axes = figure.add_subplot(grid[row, 3])
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no attention\nblock", ha="center", va="center", fontsize=8, color=MUTED)
        _probabilities(figure.add_subplot(grid[row, -1]), explanation)
    return figure


def last_of_stages(attention: Sequence[AttentionMap]) -> list[list[AttentionMap]]:
    """Select the parts of the last block of each stage (maps of one shape), for the last four stages."""
    stages = []
    for _, group in groupby(attention, key=lambda found: found.map_shape):
        maps = list(group)
        stages.append([found for found in maps if found.layer == maps[-1].layer])
    return stages[-4:]


def _photo(axes: Axes, photo: ImageSource, explanations: Sequence[Explanation]) -> None:
    image = load_image(photo)
    by_box = {e.prediction.face.box: e.prediction.face for e in explanations}
    faces = list(by_box.values())
    captions = [str(n) for n in range(1, len(faces) + 1)] if len(faces) > 1 else None
    _picture(axes, annotate(image, faces, captions), "photo")
    axes.set_anchor("N")


def _picture(axes: Axes, picture: Image.Image, title: str) -> None:
    axes.imshow(np.asarray(picture.convert("RGB")))
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, color=INK)


def _channel_limits(rows: Sequence[Sequence[Sequence[AttentionMap]]]) -> tuple[float, float]:
    """Compute a common scale for all channel attention of a panel."""
    found = [m.channel.ravel() for row in rows for maps in row for m in maps if m.channel is not None]
    low, high = map(float, torch.cat(found or [torch.tensor([0.0, 1.0])]).aminmax())
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin


def _attention(
    figure: Figure,
    cell: SubplotSpec,
    crop: NDArray[np.uint8],
    maps: Sequence[AttentionMap],
    *,
    title: str,
    limits: tuple[float, float],
) -> None:
    """Draw spatial attention over the crop, and channel attention below it; either may be missing."""
    spatial = next((found.spatial for found in maps if found.spatial is not None), None)
    channel = next((found.channel for found in maps if found.channel is not None), None)
    both = spatial is not None and channel is not None
    cells = cell.subgridspec(2, 1, height_ratios=(1, 0.45)) if both else cell.subgridspec(1, 1)
    if spatial is not None:
        heat = spatial[0].numpy()
        words = f"{title}\npositions {heat.min():.3g} to {heat.max():.3g}"
        seen = Image.fromarray(crop)
        if (spread := np.ptp(heat)) > FLAT * heat.max():
            seen = overlay(crop, np.clip((heat - heat.min()) / spread, 0, 1))
        _picture(figure.add_subplot(cells[0, 0]), seen, words)
    if channel is not None:
        axes = figure.add_subplot(cells[-1, 0])
        values = np.sort(channel[0].numpy())
        plain(axes)
        axes.plot(np.linspace(0, 1, len(values)), values, color=ACCENT, linewidth=1.2)
        axes.set(ylim=limits, xticks=[])
        axes.locator_params(axis="y", nbins=4)
        axes.tick_params(labelsize=6.5, length=2)
        words = f"{len(values)} channels, sorted"
        axes.set_title(words if both else f"{title}\n{words}", fontsize=7 if both else 8)
        if not both:
            axes.set_box_aspect(1)


def _probabilities(axes: Axes, explanation: Explanation) -> None:
    """Draw bars, those of the candidates in colour."""
    prediction = explanation.prediction
    names, values = list(prediction.probabilities), list(prediction.probabilities.values())
    plain(axes)
    colours = [ACCENT if name in prediction.candidates else "#b8c4d6" for name in names]
    axes.barh(names, values, color=colours, height=0.7)
    for row, value in enumerate(values):
        axes.text(min(value, 1.0) + 0.02, row, f"{value:.0%}", va="center", fontsize=7, color=INK)
    axes.set(xlim=(0, 1.18), xticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.invert_yaxis()
    axes.tick_params(labelsize=7.5, length=0)
    axes.set_title(prediction.caption, fontsize=8, color=INK)
