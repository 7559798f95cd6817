"""Reading of uploaded photos, with errors for the page."""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from fer_attention.faces import ImageError, load_image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""Formats that Pillow may decode in uploads. It knows many others, and one of them starts a program (EPS)."""


class PhotoError(ValueError):
    """A file that is not a usable photo or clip.

    >>> print(PhotoError("The file is empty", "Choose the photo again."))
    The file is empty. Choose the photo again.

    Args:
        title: The problem in a few words.
        advice: The numbers, and what helps.
    """

    def __init__(self, title: str, advice: str) -> None:
        super().__init__(f"{title}. {advice}")
        self.title, self.advice = title, advice


@dataclass(frozen=True)
class Limits:
    """Bounds of one request.

    >>> Limits(upload_mb=5).upload_bytes
    5000000

    Args:
        upload_mb: Size of a file, in megabytes (1,000,000 bytes).
        megapixels: Size of a photo, in millions of pixels, checked before the photo is decoded.
        faces: Number of faces that are shown one by one, the largest first. All are marked in the photo.
        clip_seconds: Length of a clip; the rest of a longer one is left out.

    Raises:
        ValueError: A limit is not above 0.
    """

    upload_mb: float = 20
    megapixels: float = 50
    faces: int = 12
    clip_seconds: float = 15

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0; got {value}.")

    @property
    def upload_bytes(self) -> int:
        """Size of a file in bytes, at least 1."""
        return max(1, round(self.upload_mb * 1_000_000))


def read_photo(content: bytes, limits: Limits) -> Image.Image:
    """Read a photo from the bytes of a file: upright RGB, by the rules of `load_image`.

    >>> file = io.BytesIO()
    >>> Image.new("L", (64, 48)).save(file, "PNG")
    >>> read_photo(file.getvalue(), Limits()).mode
    'RGB'

    Raises:
        PhotoError: The file is empty, too large, damaged or not a picture.
    """
    if not content:
        raise PhotoError("The file is empty", "It has 0 bytes. Choose the photo again.")
    if len(content) > limits.upload_bytes:
        raise too_large(len(content), limits)
    with _opened(content, limits) as opened:
        if opened.width * opened.height > limits.megapixels * 1e6:
            raise _too_many_pixels(opened.width * opened.height, limits, f"{opened.width}×{opened.height}, ")
        try:
            photo = load_image(opened)
        except ImageError as error:
            if error.__cause__ is None:  # intact, but its pixels have no fixed scale
                raise PhotoError(
                    "This kind of picture cannot be shown",
                    f"Its pixels have mode {opened.mode!r}, whose range of values is not fixed. "
                    "Save it with 8 or 16 bits per channel.",
                ) from error
            raise PhotoError(
                "The picture is damaged",
                f"It starts as a {opened.format} file, but cannot be read to its end. "
                "Copy or download it again.",
            ) from error
    photo.info.clear()  # plain pixels are not copied again later
    return photo


def too_large(size: int, limits: Limits) -> PhotoError:
    """Return the error for a file above the limit."""
    return PhotoError(
        "The file is too large",
        f"It has {size / 1e6:,.1f} MB; the limit is {limits.upload_mb:g} MB. Save it smaller and try again.",
    )


def frame_bytes(url: str) -> bytes:
    """Return the picture in a data URL, as browsers send frames of a camera; PhotoError for anything else."""
    head, _, body = url.partition(",")
    try:
        if re.fullmatch(r"data:image/(jpeg|png|webp);base64", head):
            return base64.b64decode(body, validate=True)
    except binascii.Error:
        pass
    raise PhotoError("This is not a picture of the camera", "Stop the camera and start it again.")


def _opened(content: bytes, limits: Limits) -> Image.Image:
    Image.init()
    known = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is ours
            return Image.open(io.BytesIO(content), formats=known)
    except Image.DecompressionBombError as error:
        told = re.search(r"(\d+) pixels", str(error))
        raise _too_many_pixels(int(told[1]) if told else Image.MAX_IMAGE_PIXELS or 0, limits) from error
    except UnidentifiedImageError as error:
        raise PhotoError(
            "This is not a picture that can be read",
            "Use JPEG, PNG, WebP, GIF, BMP or TIFF, and save HEIC photos of a phone as JPEG. "
            "If the file is one of these, it may be damaged.",
        ) from error
    except Exception as error:  # Pillow's readers raise nearly anything on broken bytes
        raise PhotoError(
            "The picture is damaged", "Its beginning cannot be read. Copy or download it again."
        ) from error


def _too_many_pixels(pixels: int, limits: Limits, size: str = "") -> PhotoError:
    return PhotoError(
        "The picture has too many pixels",
        f"It has {size}{pixels / 1e6:,.1f} megapixels; the limit is {limits.megapixels:g}. "
        "Scale it down and try again.",
    )
