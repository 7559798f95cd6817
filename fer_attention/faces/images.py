"""Photos from anywhere as upright 8-bit RGB: the one door through which pixels enter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

ImageSource: TypeAlias = str | os.PathLike[str] | Image.Image | npt.NDArray[Any]

_ACCEPTED = "a path, a PIL image or a uint8 RGB array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"


class ImageError(ValueError):
    """A picture that cannot be read or is of a kind whose pixel values have no agreed meaning."""


def load_image(source: ImageSource) -> Image.Image:
    """Reads a picture as RGB, turned upright by its EXIF orientation.

    Transparent pixels are laid on white, 16-bit grey is divided by 257, and of an animation the first frame
    counts. The result shares no memory with `source`, and no file stays open.

    Args:
        source: A path, a PIL image of any 8-bit mode, "1" or "I;16", or a uint8 array in RGB order of shape
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Returns:
        A PIL image of mode "RGB".

    Raises:
        ImageError: The file is missing, truncated, not an image or beyond Pillow's size limit; the picture
            has no pixels; or its pixel type has no fixed scale (floats, 32-bit integers).
        TypeError: `source` is something else, for instance a tensor.
    """
    if isinstance(source, Image.Image):
        return _decoded(source, f"the PIL image {getattr(source, 'filename', '') or source!r}")
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source), f"the array of shape {source.shape}")
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"An image is {_ACCEPTED}; got {type(source).__name__}. "
            "Of a (3, H, W) uint8 tensor pass tensor.permute(1, 2, 0).cpu().numpy()."
        )
    label = repr(os.fspath(source))
    try:
        opened = Image.open(source)
    except Exception as error:  # Pillow's readers raise nearly anything on broken bytes, never one base class
        raise ImageError(f"Cannot read {label}: {_reason(error)}") from error
    with opened:
        return _decoded(opened, label)


def require_several(images: Sequence[ImageSource]) -> None:
    """Refuses a lone picture where a sequence of pictures is wanted.

    Raises:
        TypeError: `images` is itself one picture: a path, a PIL image or an array.
    """
    if isinstance(images, str | os.PathLike | Image.Image | np.ndarray):
        raise TypeError(
            f"detect() takes a sequence of images and gives one list of faces for each; got a lone "
            f"{type(images).__name__}. Wrap it: detect([image])[0] (an array of several images: list(array))."
        )


def _decoded(image: Image.Image, label: str) -> Image.Image:
    try:
        image.load()
        upright = _upright(image)
    except Exception as error:  # as in load_image: decoders have no common error class
        raise ImageError(f"Cannot read {label}: {_reason(error)}") from error
    return _to_rgb(upright, label)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except SyntaxError:  # unreadable EXIF tells no orientation; the pixels are sound
        return image.copy()


def _to_rgb(image: Image.Image, label: str) -> Image.Image:
    if 0 in image.size:
        raise ImageError(f"Cannot use {label}: it has no pixels, its size is {image.width}x{image.height}.")
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(
            f"Cannot use {label}: mode {image.mode!r} has no fixed range of values. "
            "Scale its values to 0..255 and pass them as a uint8 array."
        )
    try:
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"Cannot use {label}: {error}. Convert it to RGB first.") from error


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    channels_last = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not channels_last:
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = " Channels come last here: pass array.transpose(1, 2, 0)."
        elif array.ndim == 4:
            hint = " A batch is passed as a list: list(array)."
        raise ImageError(f"An image is {_ACCEPTED}; got an array of shape {array.shape}.{hint}")
    if array.dtype != np.uint8:
        fix = {
            "f": "(array * 255).round().astype(np.uint8) if they run from 0 to 1, array.round()"
            ".astype(np.uint8) if from 0 to 255",
            "b": "array.astype(np.uint8) * 255",
        }.get(array.dtype.kind, "array.astype(np.uint8) if they run from 0 to 255, else scale them first")
        raise ImageError(
            f"An image array is of dtype uint8; got {array.dtype}, whose range of values is not fixed. "
            f"Convert its values: {fix}."
        )
    if array.size == 0:
        raise ImageError(f"Cannot use an array of shape {array.shape}: it has no pixels.")
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return (
            f"it is too large ({error}). If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS, "
            f"now {Image.MAX_IMAGE_PIXELS}."
        )
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image, or of a format this Pillow does not know."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return f"{error or type(error).__name__}. The file is damaged or incomplete."
