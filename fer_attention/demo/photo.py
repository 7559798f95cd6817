"""What a visitor sends becomes a photo, or an error that can be read on a page."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from fer_attention.faces import ImageError, load_image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""What Pillow may decode of strangers' files: not its many others, one of which starts a program (EPS)."""


class PhotoError(ValueError):
    """A file that is no usable photo: what is wrong in a few words, then the numbers and what helps."""

    def __init__(self, title: str, advice: str) -> None:
        super().__init__(f"{title}. {advice}")
        self.title, self.advice = title, advice


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Args:
        upload_mb: Size of a file, in megabytes (1,000,000 bytes).
        megapixels: Size of a photo, in millions of pixels; told from the file's head, before it is decoded.
        faces: Faces that are shown one by one, the largest first. All are marked in the photo.

    Raises:
        ValueError: A limit is not above 0.
    """

    upload_mb: float = 20
    megapixels: float = 50
    faces: int = 12

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} is a number above 0; got {value}.")

    @property
    def upload_bytes(self) -> int:
        """The size of a file in bytes, at least 1."""
        return max(1, round(self.upload_mb * 1_000_000))


def read_photo(content: bytes, limits: Limits) -> Image.Image:
    """The photo of a file, upright RGB by the rules of `load_image`.

    Raises:
        PhotoError: The file is empty, too large, no picture or damaged.
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
            if error.__cause__ is None:  # sound, but of pixels without a fixed scale
                raise PhotoError(
                    "This kind of picture cannot be shown",
                    f"Its pixels are of mode {opened.mode!r}, whose range of values is not fixed. "
                    "Save it with 8 or 16 bits per channel.",
                ) from error
            raise PhotoError(
                "The picture is damaged",
                f"It begins as a {opened.format} file, but cannot be read to its end. "
                "Copy or download it again.",
            ) from error
    photo.info.clear()  # so that it counts as plain pixels and is not copied again and again
    return photo


def too_large(size: int, limits: Limits) -> PhotoError:
    """The error for a file of more bytes than are taken."""
    return PhotoError(
        "The file is too large",
        f"It has {size / 1e6:,.1f} MB, and up to {limits.upload_mb:g} MB are taken. "
        "Save the photo smaller and try again.",
    )


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
            "Photos in JPEG, PNG, WebP, GIF, BMP or TIFF are. HEIC photos of a phone can be saved as JPEG; "
            "a file that should be a photo may be damaged.",
        ) from error
    except Exception as error:  # Pillow's readers raise nearly anything on broken bytes
        raise PhotoError(
            "The picture is damaged", "Its beginning cannot be read. Copy or download it again."
        ) from error


def _too_many_pixels(pixels: int, limits: Limits, size: str = "") -> PhotoError:
    return PhotoError(
        "The picture has too many pixels",
        f"It has {size}{pixels / 1e6:,.1f} megapixels, and up to {limits.megapixels:g} are taken. "
        "Scale it down and try again.",
    )
