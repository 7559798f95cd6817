"""Decoding of image files: which formats are tried, how large they may be, which way is up."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import ExifTags, Image, UnidentifiedImageError

from fer_attention.os_errors import reason_of

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Formats that Pillow may try. One of its others runs a program on the file (EPS)."""

IMAGE_SUFFIXES = (
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heif", ".ico", ".j2c", ".j2k", ".jfif",
    ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Suffixes of image files, in lower case. Every command looks for the same ones."""

MAX_PIXELS = 120_000_000  # more than any camera but a scanning one produces; 360 MB as RGB

ADDRESS = "addresses are not downloaded. Save the file first, for instance with curl -O."
"""Reason why an address cannot be read."""

_SIGNED = tuple(name for name in FORMATS if name not in ("TGA", "PPM"))  # recognised by their first bytes
_TINY = 40_000_000, 20_000  # above so many pixels, fewer than one byte for so many pixels is not a photo
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"heif")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_filters = threading.Lock()  # warning filters belong to all threads
_STRIP = 4_000_000  # pixels that are composited at once


class ImageError(ValueError):
    """An image that cannot be read, or whose pixel type has no fixed range of values.

    >>> from fer_attention.faces import load_image
    >>> load_image("missing.jpg")
    Traceback (most recent call last):
    fer_attention.faces.decoding.ImageError: Cannot read 'missing.jpg': no such file or directory.
    """


def open_image(source: str | os.PathLike[str] | bytes | IO[bytes], *, max_pixels: int) -> Image.Image:
    """Open an image file without decoding it; the caller closes it.

    Args:
        source: A path, the content of a file, or an open binary file.
        max_pixels: Files with more pixels are refused.

    Raises:
        ImageError: The file is missing, not a regular file, not an image, or too large. The message ends a
            sentence that begins with "Cannot read …".
    """
    if isinstance(source, str | os.PathLike):
        if is_address(source):
            raise ImageError(f"{ADDRESS} Or pass the bytes: urllib.request.urlopen(address).read().")
        return _checked(_opened(_regular(source)), max_pixels, os.path.getsize(source))
    content = source if isinstance(source, bytes) else source.read()
    if not isinstance(content, bytes):
        raise ImageError("it was opened as text. Open it with mode 'rb'.")
    if not content:
        raise ImageError("it is empty.")
    return _checked(_opened(io.BytesIO(content)), max_pixels, len(content))


def is_address(source: str | os.PathLike[str]) -> bool:
    """Return True for an address such as https://…, also if a path has made one slash of two.

    >>> is_address("https://example.org/a.jpg"), is_address(Path("s3://bucket/a.jpg")), is_address("C:/a.jpg")
    (True, True, False)
    """
    return re.match("[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(source)) is not None


def is_image_content(path: Path) -> bool:
    """Return True for a regular file that begins as an image does, whatever its name."""
    try:
        if _is_heif(_regular(path)):
            return True
        with Image.open(path, formats=_loaded(_SIGNED)):
            return True
    except Exception:  # not an image, damaged or unreadable
        return False


def upright(image: Image.Image) -> Image.Image:
    """Rotate an image by its EXIF orientation; EXIF that cannot be read leaves it as it is."""
    try:
        with _quiet():
            orientation = image.getexif().get(ExifTags.Base.Orientation)
        turn = _TURNS.get(orientation)  # type: ignore[arg-type]
    except Exception:  # damaged EXIF raises anything; the pixels are sound
        return image
    return image if turn is None else image.transpose(turn)


def over_white(image: Image.Image) -> Image.Image:
    """Composite an image with transparency on white, RGB, in strips that bound the memory."""
    result = Image.new("RGB", image.size, "white")
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        strip = image.crop(box).convert("RGBA")
        result.paste(strip, box, strip)
    return result


def reason(error: Exception) -> str:
    """Describe why Pillow could not read a file, as a sentence that follows "Cannot read …:"."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return (
            f"it is too large ({error}). Shrink it, or if you trust the file raise "
            f"PIL.Image.MAX_IMAGE_PIXELS, now {Image.MAX_IMAGE_PIXELS}."
        )
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image, or has a format that is not supported."
    if isinstance(error, OSError) and error.strerror:
        return f"{reason_of(error)}."
    if isinstance(error, MemoryError):
        return "there is not enough memory for its pixels."
    said = isinstance(error, OSError | SyntaxError) and str(error)  # others tell of Python, not of the file
    return f"{said}. The file is damaged or incomplete." if said else "the file is damaged or incomplete."


def _regular(path: str | os.PathLike[str]) -> Path:
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever, a device may never end
        raise ImageError("it is a folder." if stat.S_ISDIR(mode) else "it is not a regular file.")
    return Path(path)


def _opened(file: Path | io.BytesIO) -> Image.Image:
    with _quiet():  # about sizes: max_pixels is the limit
        try:
            return Image.open(file, formats=_loaded(FORMATS))
        except UnidentifiedImageError:
            if not _is_heif(file):
                raise
            return _open_heif(file)


def _loaded(formats: tuple[str, ...]) -> list[str]:
    """Load Pillow's plug-ins, and return those of the formats that this Pillow can read."""
    Image.init()
    return [name for name in formats if name in Image.OPEN]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings about a file, in one thread at a time."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _head(file: Path | io.BytesIO) -> bytes:
    if isinstance(file, io.BytesIO):
        return file.getvalue()[:12]
    with file.open("rb") as opened:
        return opened.read(12)


def _is_heif(file: Path | io.BytesIO) -> bool:
    head = _head(file)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _open_heif(file: Path | io.BytesIO) -> Image.Image:
    try:
        from pillow_heif import open_heif
    except ImportError as error:
        raise ImageError(
            "HEIC photos need pillow-heif: pip install 'fer_attention[heic]'. Or save it as JPEG."
        ) from error
    image: Image.Image = open_heif(file, convert_hdr_to_8bit=True).to_pillow()
    return image


def _checked(image: Image.Image, max_pixels: int, size: int) -> Image.Image:
    pixels = image.width * image.height
    least, share = _TINY
    fault = None
    if pixels > max_pixels:
        fault = (
            f"its {image.width}x{image.height} pixels are more than the limit of {max_pixels / 1e6:g} "
            "million. Shrink the image, or raise the limit with load_image(path, max_pixels=...) or, where a "
            "command has it, --max-pixels."
        )
    elif pixels > least and pixels > share * size:
        fault = f"it declares {image.width}x{image.height} pixels in {size} bytes, which no photo does."
    if fault:
        image.close()
        raise ImageError(fault)
    return image
