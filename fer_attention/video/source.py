"""Common parts of the video reader and writer: opening files and cameras, errors, upright frames."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fer_attention.faces.decoding import ADDRESS, is_address

if TYPE_CHECKING:
    import av.container


class VideoError(ValueError):
    """A video that cannot be read to its end, or cannot be written.

    >>> from fer_attention.video import VideoReader
    >>> VideoReader("missing.mp4")
    Traceback (most recent call last):
    fer_attention.video.source.VideoError: Cannot read 'missing.mp4': there is no such file.
    """


class VideoWarning(UserWarning):
    """A part of a video that is missing or left out.

    >>> import warnings
    >>> warnings.simplefilter("error", VideoWarning)  # doctest: +SKIP
    >>> frames = list(VideoReader("truncated.mkv"))  # doctest: +SKIP
    Traceback (most recent call last):
    fer_attention.video.source.VideoWarning: The frames of 'truncated.mkv' end after 3.6 s; ...
    """


TICK = Fraction(1, 60_000)
"""Least distance of two frames in seconds, which the writer can store.

Fine enough for the times of 25, 29.97 and 30 frames per second; MPEG-4 allows no finer than 1/65535.
"""


class Clock:
    """Strictly increasing times for a stream whose own clock may stand still or fall.

    Rounded times are moved just behind the one before. If the clock falls by a step or more, as where
    recordings were joined, the stream continues one step after the last time.

    >>> clock = Clock(step=0.04, tick=0.001)
    >>> [round(clock(seconds), 3) for seconds in (0, 0.04, 0.04, 0.08, 0.0, 0.04)]
    [0, 0.04, 0.041, 0.08, 0.12, 0.16]
    >>> clock.corrected
    2

    Attributes:
        corrected: Number of times that were not after the one before.

    Args:
        step: Usual distance of two times in seconds.
        tick: Least distance of two times in seconds.
    """

    def __init__(self, *, step: float, tick: float) -> None:
        self.step, self.tick = step, tick
        self.corrected = 0
        self._last, self._shift = -math.inf, 0.0

    def __call__(self, seconds: float) -> float:
        """Return the time for the next time of the stream's own clock."""
        shifted = seconds + self._shift
        if seconds > self._last:  # also after a single wrong time
            self._last, self._shift = seconds, 0.0
        elif shifted > self._last:
            self._last = shifted
        else:
            self.corrected += 1
            if self._last - shifted < self.step:
                self._last += self.tick
            else:
                self._last += self.step
                self._shift = self._last - seconds
        return self._last


def open_file(path: Path) -> av.container.InputContainer:
    """Open a video or sound file with PyAV; OSError or av.FFmpegError if that fails."""
    import av

    if path.is_dir():
        raise IsADirectoryError("it is a folder, not a file.")
    if not path.exists():
        raise FileNotFoundError(ADDRESS if is_address(path) else "there is no such file.")
    return av.open(str(path), "r", metadata_errors="replace")  # tags may be in an old encoding


def open_camera(number: int) -> av.container.InputContainer:
    """Open a camera with PyAV (untested on a real one); ValueError or av.FFmpegError if that fails."""
    import av

    if number < 0:
        raise ValueError("cameras are numbered from 0.")
    if sys.platform == "darwin":
        return av.open(str(number), "r", format="avfoundation", options={"framerate": "30"})
    if sys.platform == "win32":  # cameras have names, which older versions of PyAV cannot list
        listed = getattr(av, "enumerate_input_devices", lambda _: [])("dshow")
        names = [device.name for device in listed if "video" in device.media_types]
        if number >= len(names):
            raise ValueError(f"PyAV {av.__version__} finds {len(names)} cameras.")
        return av.open(f"video={names[number]}", "r", format="dshow")
    return av.open(f"/dev/video{number}", "r", format="v4l2")


def upright(pixels: npt.NDArray[Any], display: bytes) -> npt.NDArray[np.uint8]:
    """Rotate and mirror a frame in steps of 90 degrees, as players show it.

    Args:
        pixels: The stored frame, (H, W, 3).
        display: Display matrix (ISO/IEC 14496-12, 8.3.2): nine 32-bit numbers a b u c d v x y w that map a
            stored pixel to (a x + c y, b x + d y). If empty, the frame is already upright.
    """
    if display:
        a, b, _, c, d, *_ = np.frombuffer(display, dtype=np.int32).tolist()
        if abs(b) > abs(a):  # rows become columns
            pixels, a, d = pixels.transpose(1, 0, 2), c, b
        pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(pixels)


def reason_of(error: Exception) -> str:
    """Return the reason of an error, as the second half of a sentence."""
    import av

    if isinstance(error, av.error.InvalidDataError):
        return "it is damaged, incomplete or not a video."
    if isinstance(error, av.error.EOFError):
        return "it has no frame."
    reason = f"{getattr(error, 'strerror', None) or error}".rstrip(".")
    return f"{reason[:1].lower()}{reason[1:]}."
