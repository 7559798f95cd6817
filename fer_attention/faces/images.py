"""Loading of photos from any source as upright 8-bit RGB."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, BinaryIO, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fer_attention.faces.decoding import MAX_PIXELS as MAX_PIXELS
from fer_attention.faces.decoding import ImageError as ImageError
from fer_attention.faces.decoding import open_image, over_white, reason, upright

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | BinaryIO | Image.Image | npt.NDArray[Any] | torch.Tensor
)

_ACCEPTED = (
    "a path, the bytes of a file, an open binary file, a PIL image, "
    "a uint8 RGB array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
    "or a uint8 RGB tensor of shape (H, W), (1, H, W), (3, H, W) or (4, H, W)"
)
_ORDERS = {
    0: ("tensor", "first: tensor.permute(2, 0, 1)"),
    2: ("array", "last: array.transpose(1, 2, 0)"),
}


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Load an image as RGB, rotated upright by its EXIF orientation.

    Transparency is composited on white, 16-bit grey is divided by 257, and of an animation the first frame is
    taken. The result shares no memory with `source`, and no file stays open.

    >>> photo = load_image(np.zeros((48, 64), np.uint8))
    >>> photo.mode, photo.size
    ('RGB', (64, 48))

    Args:
        source: A path; the bytes of an image file, or an open binary file; a PIL image of any 8-bit mode, "1"
            or "I;16"; or 8-bit RGB or grey pixels: an array with channels last, (H, W), (H, W, 1), (H, W, 3)
            or (H, W, 4), or a tensor with channels first, as in torchvision, (H, W), (1, H, W), (3, H, W) or
            (4, H, W), on any device. Values of uint16 are divided by 257, those of bool multiplied by 255.
        max_pixels: Files with more pixels are refused before they are decoded. Pillow itself refuses those
            above twice `PIL.Image.MAX_IMAGE_PIXELS`.

    Returns:
        A PIL image of mode "RGB".

    Raises:
        ImageError: The file is missing, truncated, not an image or too large; the image has no pixels; or
            its pixel type has no fixed range (floats, 32-bit integers).
        TypeError: `source` is something else.
    """
    if isinstance(source, Image.Image):
        return _decoded(source, f"the PIL image {getattr(source, 'filename', '') or source!r}")
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_pixels(source, channels=2), f"the array of shape {source.shape}")
    if isinstance(source, torch.Tensor):
        pixels = source.detach().cpu().numpy()
        return _to_rgb(_from_pixels(pixels, channels=0), f"the tensor of shape {pixels.shape}")
    if not isinstance(source, str | os.PathLike | bytes) and not hasattr(source, "read"):
        raise TypeError(f"An image is {_ACCEPTED}; got {type(source).__name__}.")
    label = _label(source)
    try:
        opened = open_image(source, max_pixels=max_pixels)
    except Exception as error:  # Pillow's readers have no common error class for broken bytes
        raise ImageError(f"Cannot read {label}: {reason(error)}") from error
    with opened:
        return _decoded(opened, label)


def borrow_image(source: ImageSource) -> Image.Image:
    """Load an image for reading only: RGB images and uint8 arrays (H, W, 3) are not copied."""
    if type(source) is Image.Image and source.mode == "RGB" and not source.info:
        return source
    if is_rgb(source):
        return Image.fromarray(source)
    return load_image(source)


def is_rgb(source: object) -> TypeGuard[npt.NDArray[np.uint8]]:
    """Return True for a non-empty uint8 array (H, W, 3)."""
    return (
        isinstance(source, np.ndarray)
        and source.dtype == np.uint8
        and source.shape[2:] == (3,)
        and source.size > 0
    )


def require_sequence(images: Sequence[ImageSource]) -> None:
    """Refuse a single path, PIL image, array or tensor where a sequence is expected (TypeError)."""
    if isinstance(images, str | os.PathLike | bytes | Image.Image | np.ndarray | torch.Tensor):
        raise TypeError(
            f"detect() takes a sequence of images and returns a list of faces for each; got a single "
            f"{type(images).__name__}. Wrap it: detect([image])[0] (an array of several images: list(array))."
        )


def _label(source: object) -> str:
    """Return how messages call a file: by its path, or by what it is."""
    if isinstance(source, str | os.PathLike):
        return repr(os.fspath(source))
    name = getattr(source, "name", None)  # of an open file; some have a number
    return repr(name) if isinstance(name, str) else f"the {type(source).__name__} of an image file"


def _decoded(image: Image.Image, label: str) -> Image.Image:
    try:
        image.load()
        image = upright(image)
    except Exception as error:  # as in load_image
        raise ImageError(f"Cannot read {label}: {reason(error)}") from error
    return _to_rgb(image, label)


def _to_rgb(image: Image.Image, label: str) -> Image.Image:
    if 0 in image.size:
        raise ImageError(f"Cannot use {label}: it has no pixels, its size is {image.width}x{image.height}.")
    if image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bit(np.asarray(image).astype(np.uint16))).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(
            f"Cannot use {label}: mode {image.mode!r} has no fixed range of values. "
            "Scale the values to 0..255 and pass them as a uint8 array."
        )
    try:
        if image.has_transparency_data:
            return over_white(image)
        plain = image.convert("RGB")
        plain.info.clear()  # an orientation that is left would turn it again
        return plain
    except ValueError as error:
        raise ImageError(f"Cannot use {label}: {error}. Convert it to RGB first.") from error


def _from_pixels(pixels: npt.NDArray[Any], *, channels: int) -> Image.Image:
    """Convert the pixels of an array (`channels` is axis 2) or of a tensor (axis 0)."""
    shape = pixels.shape
    what, order = _ORDERS[channels]
    if len(shape) != 2 and (len(shape) != 3 or shape[channels] not in (1, 3, 4)):
        hint = ""
        if len(shape) == 3 and shape[2 - channels] in (1, 3, 4):
            hint = f" Put the channels {order}."
        elif len(shape) == 4:
            hint = f" Pass a batch as a list: list({what})."
        raise ImageError(f"An image is {_ACCEPTED}; got the {what} of shape {shape}.{hint}")
    if pixels.size == 0:
        raise ImageError(f"Cannot use the {what} of shape {shape}: it has no pixels.")
    last = pixels if len(shape) == 2 else np.moveaxis(pixels, channels, 2)
    return Image.fromarray(_eight_bit(last[:, :, 0] if last.shape[2:] == (1,) else last))


def _eight_bit(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Convert pixels to 0..255 if their type has a fixed range."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    fix = (
        "(array * 255).round().astype(np.uint8) if they range from 0 to 1, array.round().astype(np.uint8) if "
        "from 0 to 255"
        if array.dtype.kind == "f"
        else "array.astype(np.uint8) if they range from 0 to 255, else scale them first"
    )
    raise ImageError(
        f"Image pixels are uint8, uint16 or bool; got {array.dtype}, which has no fixed range of values. "
        f"Convert them: {fix}."
    )
