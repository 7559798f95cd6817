"""Under the reader and the writer of videos: opening files and cameras, errors, upright pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av.container


class VideoError(ValueError):
    """A video that cannot be read, or not to its end."""


class VideoWarning(UserWarning):
    """Something of a video that is left out."""


def open_file(path: Path) -> av.container.InputContainer:
    """Opens a video or sound file with PyAV; OSError or av.FFmpegError if it is none."""
    import av

    if path.is_dir():
        raise IsADirectoryError("it is a folder.")
    if not path.exists():
        raise FileNotFoundError("there is no such file.")
    try:
        return av.open(str(path), "r")
    except UnicodeDecodeError:  # tags in an old encoding, on which PyAV below 19 stumbles
        return av.open(str(path), "r", metadata_errors="replace")


def open_camera(number: int) -> av.container.InputContainer:
    """Opens a camera with PyAV, untested for want of one; ValueError or av.FFmpegError if there is none."""
    import av

    if number < 0:
        raise ValueError("cameras are numbered from 0.")
    if sys.platform == "darwin":
        return av.open(str(number), "r", format="avfoundation", options={"framerate": "30"})
    if sys.platform == "win32":  # cameras go by names there, which older versions of PyAV cannot list
        listed = getattr(av, "enumerate_input_devices", lambda _: [])("dshow")
        names = [device.name for device in listed if "video" in device.media_types]
        if number >= len(names):
            raise ValueError(f"PyAV {av.__version__} knows of {len(names)} cameras.")
        return av.open(f"video={names[number]}", "r", format="dshow")
    return av.open(f"/dev/video{number}", "r", format="v4l2")


def upright(pixels: npt.NDArray[Any], display: bytes) -> npt.NDArray[np.uint8]:
    """The picture as a player shows it, turned and mirrored in steps of 90 degrees.

    Args:
        pixels: The stored picture, (H, W, 3).
        display: Bytes of a display matrix (ISO/IEC 14496-12, 8.3.2): nine 32-bit numbers a b u c d v x y w
            that put a stored pixel at (a x + c y, b x + d y). Without any the picture stays as it is.
    """
    if display:
        a, b, _, c, d, *_ = np.frombuffer(display, dtype=np.int32).tolist()
        if abs(b) > abs(a):  # rows become columns
            pixels, a, d = pixels.transpose(1, 0, 2), c, b
        pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(pixels)


def reason_of(error: Exception) -> str:
    """An error in half a sentence, with its full stop."""
    import av

    if isinstance(error, av.error.InvalidDataError):
        return "its data are damaged, incomplete or no video."
    if isinstance(error, av.error.EOFError):
        return "it holds no frame."
    return f"{getattr(error, 'strerror', None) or error}".rstrip(".") + "."


def duration_of(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Seconds by the header, of the pictures if it says so, else of the whole file."""
    if stream.duration and stream.time_base:
        return stream.duration * float(stream.time_base)
    return container.duration / 1e6 if container.duration else None
