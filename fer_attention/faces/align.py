"""Faces turned upright and brought to one place by their landmarks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from fer_attention.faces.crop import check_picture
from fer_attention.faces.face import Point
from fer_attention.faces.geometry import CropTransform
from fer_attention.preprocessing import Interpolation

# Where MTCNN sees left eye, right eye, nose and the corners of the mouth in FER2013's training images, in
# parts of the frame: medians over 3,445 faces and their mirror images (benchmarks/face_geometry.py).
TEMPLATE: tuple[Point, ...] = (
    (0.3141, 0.3901),
    (0.6859, 0.3901),
    (0.5, 0.6046),
    (0.3454, 0.7852),
    (0.6546, 0.7852),
)

_STEADY = [0, 1, 3, 4]  # the nose moves with every turn of the head


def alignment(landmarks: Sequence[Point], *, size: int, scale: float = 1.0) -> CropTransform:
    """The similarity that lays eyes and corners of the mouth where FER2013's frames have them.

    Args:
        landmarks: Five points (x, y) in pixels of the photo: `Face.landmarks`.
        size: Side of the crop in pixels.
        scale: Side of the crop over that of FER2013's frame: above 1 shows more around the face.

    Returns:
        The map from the crop to the photo: least squares over four points.

    Raises:
        ValueError: The landmarks are not five or all at one place, or size or scale is too small.
    """
    if len(landmarks) != len(TEMPLATE):
        raise ValueError(f"Alignment takes five landmarks, as Face.landmarks has them; got {len(landmarks)}.")
    if size < 1 or not 0 < scale < math.inf:
        raise ValueError(f"size is at least 1 pixel and scale a finite number above 0; got {size}, {scale}.")
    template = size * (0.5 + (np.asarray(TEMPLATE) - 0.5) / scale)
    return CropTransform.aligning(template[_STEADY], np.asarray(landmarks)[_STEADY])


def align_face(
    image: Image.Image,
    landmarks: Sequence[Point],
    *,
    size: int = 80,
    scale: float = 1.0,
    interpolation: Interpolation = "bilinear",
) -> Image.Image:
    """Cuts a face out of a photo, turned upright, with eyes and mouth in their usual places.

    The photo is sampled bilinearly at a multiple of the wanted size, about once a pixel, and shrunk from
    there by the same antialiased resize as `crop_face`. Beyond the photo's border its outermost pixels
    continue. `alignment` says where the crop's pixels lie in the photo.

    Args:
        image: An RGB or grey ("L") photo, upright: what `load_image` gives.
        landmarks: Five points (x, y) in pixels of the photo: `Face.landmarks`.
        size: Side of the result in pixels.
        scale: Side of the crop over that of FER2013's frame.
        interpolation: Of the resize: "nearest", "bilinear", "bicubic" or "lanczos".

    Returns:
        A new picture of the photo's mode, `size` x `size`.

    Raises:
        ValueError: The landmarks cannot be aligned by, the crop lies wholly outside the photo, or another
            argument is out of its range.
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
            f"{corners.round(1).tolist()}. Landmarks count in pixels of the upright photo."
        )
    coarse = max(1, math.floor(transform.scale / 4))  # a very large face is averaged down first
    part = np.asarray(image.reduce(coarse, box))
    fine = max(1, math.ceil(transform.scale / coarse))
    steps = (np.arange(size * fine) + 0.5) / fine
    grid = transform.to_photo(np.stack(np.meshgrid(steps, steps), axis=-1)).reshape(len(steps), len(steps), 2)
    sampled = Image.fromarray(_bilinear(part, (grid - box[:2]) / coarse))
    return sampled.resize((size, size), Image.Resampling[interpolation.upper()])


def _bilinear(pixels: npt.NDArray[np.uint8], points: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, 3) at (h, w, 2) points (x, y); beyond the border its pixels continue."""
    image = torch.from_numpy(np.array(pixels, ndmin=3)).movedim(-1 if pixels.ndim == 3 else 0, 0)
    height, width = pixels.shape[:2]
    unit = torch.from_numpy(points * (2 / width, 2 / height) - 1).float()
    sampled = functional.grid_sample(
        image[None].float(), unit[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]
    result = sampled.round().clamp(0, 255).to(torch.uint8).movedim(0, -1).numpy()
    return np.ascontiguousarray(result if pixels.ndim == 3 else result[:, :, 0])
