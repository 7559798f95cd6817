"""Reading of videos and cameras: upright RGB frames with their times."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fer_attention.optional import needs_extra
from fer_attention.video.source import VideoError, VideoWarning, open_camera, open_file, reason_of, upright

if TYPE_CHECKING:
    import av
    import av.container

VideoSource: TypeAlias = str | os.PathLike[str] | int


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    >>> frame = Frame(index=50, time=2.0, image=np.zeros((48, 64, 3), np.uint8))
    >>> frame.image.shape
    (48, 64, 3)

    Attributes:
        index: Number of the frame, from 0.
        time: Seconds from the start of the video.
        image: uint8 RGB of shape (H, W, 3), upright.
    """

    index: int
    time: float
    image: npt.NDArray[np.uint8]


class VideoReader:
    """Iterator over the frames of a video file or a camera.

    >>> with VideoReader("clip.mp4") as reader:  # doctest: +SKIP
    ...     for frame in reader:
    ...         print(frame.time, frame.image.shape)

    Frames are rotated upright by the display matrix that phones write. Times are those of the file, from its
    start, so that videos with a varying frame rate stay in sync with their sound. All frames have the size of
    the first one; pixels count as square. Damage that the decoder conceals is not reported, as in players.

    Args:
        source: A path, or the number of a camera (Linux: /dev/videoN; cameras are untested).

    Attributes:
        fps: Average frames per second, by the file's header.
        size: (width, height) of the upright frames.
        frames: Estimated number of frames; None for a camera or if the header lacks it.
        duration: Seconds, by the file's header; None for a camera or if the header lacks it.
        live: True for a camera.

    Raises:
        VideoError: The file does not exist, is not a video, or has no frame; or, while iterating, after all
            frames before the damage, the file is damaged.
    """

    def __init__(self, source: VideoSource) -> None:
        with needs_extra("faces", "Videos are read by PyAV"):
            import av
        self.live = isinstance(source, int)
        self.name = f"camera {source}" if isinstance(source, int) else repr(os.fspath(source))
        try:
            self._container = open_camera(source) if isinstance(source, int) else open_file(Path(source))
        except (OSError, ValueError, av.FFmpegError) as error:
            raise VideoError(f"Cannot read {self.name}: {reason_of(error)}") from error
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        from av.stream import Disposition

        container = self._container
        if container.format.name.endswith("_pipe") or container.format.name == "image2":
            raise VideoError(f"Cannot read {self.name}: it is an image, not a video. Use `predict`.")
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if container.format.name == "tty":  # FFmpeg renders any text file as a terminal
            raise VideoError(f"Cannot read {self.name}: it is a text file, not a video.")
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            raise VideoError(f"Cannot read {self.name}: it has no video stream, only {kinds or 'a header'}.")
        self._stream = stream = streams[0]
        self.fps = float(stream.average_rate or stream.guessed_rate or 25)
        seconds = float((stream.duration or 0) * (stream.time_base or 0)) or (container.duration or 0) / 1e6
        self.duration = None if self.live else seconds or None
        self.frames = stream.frames or (round(self.duration * self.fps) if self.duration else None)
        frames = self._read()
        first = next(frames, None)  # gives the upright size
        if first is None:
            raise VideoError(f"Cannot read {self.name}: it has no frame.")
        self.size: tuple[int, int] = (first.image.shape[1], first.image.shape[0])
        self._frames = chain(iter([first]), frames)  # an iterator holds no reference to yielded frames

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file or the camera."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        return next(self._frames)

    def _read(self) -> Iterator[Frame]:
        import av
        from av.video.reformatter import VideoReformatter

        index, time = 0, 0.0
        start = None if self._container.start_time is None else self._container.start_time / 1e6
        tick = float(self._stream.time_base or 0)
        converter = VideoReformatter()  # one for all frames: each holds megabytes
        try:
            for picture in self._pictures():
                seconds = index / self.fps if picture.pts is None else picture.pts * tick
                start = seconds if start is None else start
                time = max(time, seconds - start)  # never decreasing, even in a damaged file
                if index == 0:  # reading the side data of every frame would create reference cycles
                    width, height = picture.width, picture.height
                    matrix: Any = picture.side_data.get("DISPLAYMATRIX")
                    display = bytes(matrix or b"")
                pixels = converter.reformat(picture, width, height, "rgb24").to_ndarray()
                yield Frame(index, time, upright(pixels, display))
                index += 1
        except av.FFmpegError as error:
            raise VideoError(
                f"Cannot read {self.name} from frame {index} on, at about "
                f"{time + bool(index) / self.fps:.3f} s: {reason_of(error)} The frames before it are intact."
            ) from error
        end = time + 1 / self.fps
        if self.duration is not None and self.duration - end > 1:
            warnings.warn(
                f"The frames of {self.name} end after {end:.1f} s; its header says {self.duration:.1f} s. "
                "Unless the sound continues without frames, the file is truncated.",
                VideoWarning,
                stacklevel=3,
            )

    def _pictures(self) -> Iterator[av.VideoFrame]:
        import av

        packets = self._container.demux(self._stream)
        while True:
            before = math.inf
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                before = math.inf if packet.pts is None else packet.pts
                yield from packet.decode()
            except av.error.BlockingIOError:  # macOS: the camera has no frame yet
                packets = self._container.demux(self._stream)
            except av.FFmpegError:
                # The decoder delays frames until their order is known: those before the damage are valid.
                for picture in self._stream.decode(None):
                    if picture.pts is None or picture.pts < before:
                        yield picture
                raise
