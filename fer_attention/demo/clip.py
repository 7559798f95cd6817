"""Analysis of one short clip: marked video, people and records, in bounded time and memory."""

from __future__ import annotations

import os
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fer_attention.demo.photo import Limits, PhotoError
from fer_attention.optional import needs_extra
from fer_attention.recognizer import EmotionRecognizer
from fer_attention.video import (
    Frame,
    TrackSummaries,
    TrackSummary,
    VideoError,
    VideoReader,
    VideoWarning,
    VideoWriter,
    recognize_video,
)

SIDE = 640
ANALYSED_RATE, HIGHEST_RATE = 5, 60
FORMATS = "mov,matroska,avi"
"""FFmpeg's names of the containers that may be opened. Others, such as playlists, can read other files."""


@dataclass(frozen=True)
class ClipAnalysis:
    """Everything that the page shows of one clip.

    >>> ClipAnalysis(b"", (640, 360), people={}, records=[], seconds=2.5).note
    ''

    Attributes:
        video: The clip as MP4 with every face marked, its longer side at most 640 pixels, without sound.
        size: (width, height) of that video.
        people: Tracks of more than one analysed frame, by number.
        records: One record for each analysed frame, with its time as the name.
        seconds: Time of the last frame.
        note: What was left out; empty if nothing was.
    """

    video: bytes
    size: tuple[int, int]
    people: dict[int, TrackSummary]
    records: list[dict[str, Any]]
    seconds: float
    note: str = ""


def analyse_clip(
    recognizer: EmotionRecognizer, content: bytes, *, limits: Limits | None = None
) -> ClipAnalysis:
    """Find and follow the faces of a clip and name their expressions, five times a second.

    >>> from fer_attention.recognizer import EmotionRecognizer  # doctest: +SKIP
    >>> with open("clip.mp4", "rb") as file:  # doctest: +SKIP
    ...     analysis = analyse_clip(EmotionRecognizer.from_pretrained(), file.read())

    Args:
        recognizer: Detector and model.
        content: Bytes of an MP4, MOV, WebM, MKV or AVI file. They are in a private temporary file meanwhile.
        limits: Largest frame, and length in seconds; what comes later is left out.

    Raises:
        PhotoError: The file is empty, has no video that can be read, or its frames are too large.
        ImportError: PyAV is missing.
    """
    limits = limits or Limits()
    if not content:
        raise PhotoError("The file is empty", "It has 0 bytes. Choose the clip again.")
    with tempfile.TemporaryDirectory(prefix="clip_") as folder:
        source, marked = Path(folder, "clip"), Path(folder, "marked.mp4")
        source.write_bytes(content)
        _check(source, limits)
        people, records, damaged = TrackSummaries(), [], False
        try:
            reader = _SmallReader(source, limits)
        except VideoError as error:
            raise _unreadable() from error
        rate = min(max(reader.fps, 1), HIGHEST_RATE)
        with (
            warnings.catch_warnings(),
            reader,
            VideoWriter(marked, fps=rate, size=reader.size) as writer,
        ):
            warnings.simplefilter("ignore", VideoWarning)  # the page says what matters of it
            every = max(1, round(rate / ANALYSED_RATE))
            try:
                for result in recognize_video(recognizer, reader, every=every):
                    writer.write(result.marked(), result.frame.time)
                    people.add(result)
                    if result.analysed:
                        records.append(_record(result.to_dict(), reader.size))
            except VideoError:
                damaged = True
        note = ""
        if damaged or (not reader.cut and (reader.duration or 0) - reader.reached > 1):
            note = "The clip is damaged: this was found before the damage."
        elif reader.cut:
            note = f"The clip is longer than {limits.clip_seconds:g} seconds. The rest was left out."
        return ClipAnalysis(marked.read_bytes(), reader.size, people.lasting, records, reader.reached, note)


def _record(frame: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    return {"image": f"{frame['time']:.2f} s", "width": width, "height": height, "faces": frame["faces"]}


def _unreadable() -> PhotoError:
    return PhotoError(
        "This is not a clip that can be read",
        "Use MP4, MOV, WebM, MKV or AVI. If the file is one of these, it may be damaged.",
    )


def _check(path: Path, limits: Limits) -> None:
    """Refuse files of other formats, and frames above the limit, before anything is decoded."""
    with needs_extra("demo", "Clips are read by PyAV"):
        import av
    try:
        with av.open(os.fspath(path), options={"format_whitelist": FORMATS}) as container:
            pixels = max((stream.width * stream.height for stream in container.streams.video), default=0)
    except (OSError, ValueError, av.FFmpegError) as error:
        raise _unreadable() from error
    if pixels > limits.megapixels * 1e6:
        raise PhotoError(
            "The frames have too many pixels",
            f"They have {pixels / 1e6:,.1f} megapixels; the limit is {limits.megapixels:g}. "
            "Save the clip smaller and try again.",
        )


class _SmallReader(VideoReader):
    """A clip up to the limit of its length, in frames whose longer side has at most 640 pixels.

    Attributes:
        cut: True once a frame beyond the limit was met.
        reached: Time of the last frame in seconds.
    """

    def __init__(self, source: Path, limits: Limits) -> None:
        self._seconds = limits.clip_seconds
        self.cut, self.reached = False, 0.0
        super().__init__(source)
        width, height = self.size
        scale = min(1.0, SIDE / max(width, height))
        self.size = max(1, round(width * scale)), max(1, round(height * scale))

    def __next__(self) -> Frame:
        frame = super().__next__()
        if frame.time >= self._seconds or frame.index >= self._seconds * HIGHEST_RATE:
            self.cut = True
            raise StopIteration
        self.reached = frame.time
        small = Image.fromarray(frame.image).resize(self.size, Image.Resampling.BILINEAR, reducing_gap=2)
        return replace(frame, image=np.asarray(small))
