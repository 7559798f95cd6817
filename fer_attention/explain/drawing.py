"""Heat maps over images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_attention.optional import needs_extra

COLOURS = "YlOrRd"
"""matplotlib's colour map of heat, from pale yellow to dark red; it darkens evenly, also in greyscale."""


def overlay(
    image: NDArray[np.uint8] | Image.Image, heat: NDArray[np.float32], *, alpha: float = 0.85
) -> Image.Image:
    """Colour the hot regions of an image, from yellow to red; regions without heat stay as they are.

    >>> overlay(np.zeros((48, 48), np.uint8), np.linspace(0, 1, 9, dtype=np.float32).reshape(3, 3)).size
    (48, 48)

    Args:
        image: Grey (H, W), RGB (H, W, 3) or a PIL image.
        heat: (h, w) in [0, 1]; it is resized bilinearly to the image's size. Opacity and colour grow with it.
        alpha: Opacity where the heat is 1, from 0 (invisible) to 1.

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
    colours = colormaps[COLOURS](resized)[..., :3] * 255
    opacity = alpha * resized[..., None]
    return Image.fromarray(np.rint(np.asarray(picture) * (1 - opacity) + colours * opacity).astype(np.uint8))
