"""Faces rotated upright and aligned by their landmarks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from fer_attention.faces.crop import check_picture
from fer_attention.faces.face import Point
from fer_attention.faces.geometry import CropTransform
from fer_attention.preprocessing import Interpolation

# Positions of left eye, right eye, nose and corners of the mouth in FER2013's training images, as fractions
# of the frame: medians of MTCNN's landmarks over 3,445 faces and their mirror images
# (benchmarks/face_geometry.py).
TEMPLATE: tuple[Point, ...] = (
    (0.3141, 0.3901),
    (0.6859, 0.3901),
    (0.5, 0.6046),
    (0.3454, 0.7852),
    (0.6546, 0.7852),
)

_ALIGNED = [0, 1, 3, 4]  # without the nose, which moves with every turn of the head


def alignment(landmarks: Sequence[Point], *, size: int, scale: float = 1.0) -> CropTransform:
    """Fit the map from crop to photo that puts eyes and mouth where FER2013's frames have them.

    It is the similarity with the least squared error over the eyes and the corners of the mouth.

    >>> landmarks = ((130, 140), (170, 140), (150, 160), (135, 180), (165, 180))
    >>> alignment(landmarks, size=80).to_photo([(40, 40)]).round()  # the centre of the crop
    array([[150., 151.]])

    Args:
        landmarks: Five points (x, y) in pixels of the photo: `Face.landmarks`.
        size: Side of the crop in pixels.
        scale: Side of the crop relative to FER2013's frame: above 1 shows more around the face.

    Raises:
        ValueError: There are not five landmarks, they coincide, or size or scale is too small.
    """
    if len(landmarks) != len(TEMPLATE):
        raise ValueError(f"Alignment takes five landmarks, as in Face.landmarks; got {len(landmarks)}.")
    if size < 1 or not 0 < scale < math.inf:
        raise ValueError(f"size is at least 1 pixel and scale is finite and above 0; got {size} and {scale}.")
    template = size * (0.5 + (np.asarray(TEMPLATE) - 0.5) / scale)
    # Least squares in closed form (Umeyama 1991, IEEE PAMI 13(4)), in complex numbers: for centred points z
    # and w the best w = s·z has s = <z, w> / <z, z>.
    z, w = (np.asarray(points, dtype=float)[_ALIGNED] @ (1, 1j) for points in (template, landmarks))
    z0, w0 = z.mean(), w.mean()
    s = complex(np.vdot(z - z0, w - w0) / np.vdot(z - z0, z - z0))
    if not np.isfinite(s) or abs(s) < 1e-9:
        raise ValueError(f"Cannot align by landmarks that all coincide; got {landmarks}.")
    shift = complex(w0 - s * z0)
    return CropTransform(((s.real, -s.imag, shift.real), (s.imag, s.real, shift.imag)))


def align_face(
    image: Image.Image,
    landmarks: Sequence[Point],
    *,
    size: int = 80,
    scale: float = 1.0,
    interpolation: Interpolation = "bilinear",
) -> Image.Image:
    """Cut a face out of a photo, turned upright, with eyes and mouth at their usual positions.

    The photo is sampled bilinearly, about once per pixel, and shrunk by the same antialiased resize as in
    `crop_face`. Beyond the photo's border its outermost pixels are repeated. The positions of the crop's
    pixels in the photo are given by `alignment` for the same arguments.

    >>> landmarks = ((130, 140), (170, 140), (150, 160), (135, 180), (165, 180))
    >>> align_face(Image.new("RGB", (300, 300)), landmarks, size=80).size
    (80, 80)

    Args:
        image: An upright RGB or grey ("L") photo, as `load_image` returns it.
        landmarks: Five points (x, y) in pixels of the photo: `Face.landmarks`.
        size: Side of the crop in pixels.
        scale: Side of the crop relative to FER2013's frame: above 1 shows more around the face.
        interpolation: Filter of the resize: "nearest", "bilinear", "bicubic" or "lanczos".

    Raises:
        ValueError: The landmarks cannot be aligned, the crop lies wholly outside the photo, or another
            argument is out of range.
    """
    check_picture(image, interpolation)
    transform = alignment(landmarks, size=size, scale=scale)
    corners = transform.to_photo([(0, 0), (size, 0), (0, size), (size, size)])
    left, top = np.floor(corners.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 1
    box = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(
            f"The aligned face lies wholly outside the {image.width}x{image.height} photo, with corners at "
            f"{corners.round(1).tolist()}. Landmarks are in pixels of the upright photo."
        )
    coarse = max(1, math.floor(transform.scale / 4))  # a very large face is averaged down first
    part = pil_to_tensor(image.reduce(coarse, box))
    fine = max(1, math.ceil(transform.scale / coarse))
    steps = (np.arange(size * fine) + 0.5) / fine
    points = (transform.to_photo(np.stack(np.meshgrid(steps, steps), axis=-1)) - box[:2]) / coarse
    grid = torch.from_numpy(points * (2 / part.shape[2], 2 / part.shape[1]) - 1).float()
    grid = grid.view(1, len(steps), len(steps), 2)
    sampled = functional.grid_sample(part[None].float(), grid, padding_mode="border", align_corners=False)
    picture: Image.Image = to_pil_image(sampled[0].round().clamp(0, 255).to(torch.uint8))
    return picture.resize((size, size), Image.Resampling[interpolation.upper()])
