"""Whether an exported file computes what its model computes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_attention.classifiers.base import Pixels
from fer_attention.data import FaceDataset, ImageFiles
from fer_attention.preprocessing import Preprocessing

Logits: TypeAlias = NDArray[np.float32]
Faces: TypeAlias = FaceDataset | ImageFiles | Pixels
"""Whole crops of any size: labelled ones, files, or uint8 (N, h, w) grey or (N, h, w, 3) RGB."""

BATCHES = (1, 3)
NOISE = 4


class ExportError(ValueError):
    """A model that cannot be exported, or a file that computes something else or is not ours."""


def images_of(faces: Faces) -> Pixels | ImageFiles:
    """The images alone, checked as far as reading none of them allows.

    Raises:
        ValueError: An array is not uint8, or neither grey (N, h, w) nor RGB (N, h, w, 3).
    """
    images = faces.images if isinstance(faces, FaceDataset) else faces
    rgb = images.ndim == 4 and images.shape[-1] == 3
    if images.dtype != np.uint8 or not (images.ndim == 3 or rgb):
        raise ValueError(
            f"Faces are uint8 (N, h, w) grey or (N, h, w, 3) RGB; got {images.dtype} {images.shape}."
        )
    return images


def check_crops(preprocessing: Preprocessing, faces: Faces | None) -> Pixels:
    """Return uint8 crops (N, C, H, W): noise, the package's own face, and the given faces.

    The package's face is that of the astronaut Eileen Collins (NASA, public domain), 80×80 pixels, grey.
    """
    shape = (NOISE, preprocessing.channels, *preprocessing.size)
    crops = [np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)]
    with resources.files("fer_attention.export").joinpath("face.png").open("rb") as file:
        crops.append(preprocessing.prepare(np.asarray(Image.open(file))[None]))
    if faces is not None and len(faces):
        crops.append(preprocessing.prepare(images_of(faces)[:]))
    return np.concatenate(crops)


def largest_difference(
    expected: Callable[[Pixels], Logits], actual: Callable[[Pixels], Logits], crops: Pixels
) -> float:
    """The largest difference of logits over all crops, in batches of one and of three.

    Where logits are larger than 1, it counts in units of the largest: float32 has digits, not decimals. Not
    a number on either side gives infinity.
    """
    apart = 0.0
    for size in BATCHES:
        for start in range(0, len(crops), size):
            batch = crops[start : start + size]
            wanted, got = expected(batch), actual(batch)
            if wanted.shape != got.shape or not (np.isfinite(wanted).all() and np.isfinite(got).all()):
                return float("inf")
            apart = max(apart, float(np.abs(wanted - got).max() / max(1.0, np.abs(wanted).max())))
    return apart


def check_suffix(path: Path, suffix: str) -> None:
    """Raises a ValueError if a path has another suffix, by which readers know the format."""
    if path.suffix != suffix:
        raise ValueError(f"The file's name ends in {suffix}, got {path.name!r}.")
