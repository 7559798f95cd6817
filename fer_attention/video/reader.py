"""Videos and cameras frame by frame: upright RGB frames with their times."""

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
from fer_attention.video import source as media
from fer_attention.video.source import VideoError, VideoWarning, reason_of

if TYPE_CHECKING:
    import av
    import av.container

VideoSource: TypeAlias = str | os.PathLike[str] | int


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        index: Counted from 0.
        time: Seconds from the start of the video.
        image: uint8 RGB of shape (H, W, 3), upright.
    """

    index: int
    time: float
    image: npt.NDArray[np.uint8]


class VideoReader:
    """The frames of a video file or a camera, one after the other, none of them kept.

    >>> with VideoReader("clip.mp4") as reader:  # doctest: +SKIP
    ...     for frame in reader:
    ...         print(frame.time, frame.image.shape)

    Frames are turned upright by the display matrix of the file, as phones write it. Times are those of the
    file, counted from its start, so that pictures of a varying frame rate stay in step with the sound. All
    frames have the first one's size; pixels count as square. Damage that the decoder can conceal goes
    unnoticed, as in players.

    Args:
        source: A path, or the number of a camera (Linux: /dev/videoN; cameras are untested).

    Attributes:
        fps: Frames per second on average, as the file says.
        size: (width, height) of the upright frames.
        frames: How many frames there are, an estimate; None for a camera or where the file does not say.
        duration: Seconds, as the file says; None for a camera or where it does not.
        live: Whether it is a camera.

    Raises:
        VideoError: The file is missing, no video, a picture, or without any frame; while iterating: it is
            damaged. All frames before the damage have been given then.
    """

    def __init__(self, source: VideoSource) -> None:
        with needs_extra("faces", "videos are read by PyAV"):
            import av
        self.live = isinstance(source, int)
        self.name = f"camera {source}" if isinstance(source, int) else repr(os.fspath(source))
        try:
            if isinstance(source, int):
                self._container = media.open_camera(source)
            else:
                self._container = media.open_file(Path(source))
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
        if container.format.name.endswith("_pipe"):
            raise VideoError(f"{self.name} is a picture, not a video: use `predict` for pictures.")
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if container.format.name == "tty":  # FFmpeg draws any text file as if on a terminal
            raise VideoError(f"Cannot read {self.name}: it is a text, not a video.")
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams}))
            raise VideoError(f"{self.name} has no pictures: it holds {kinds or 'nothing'}.")
        self._stream = stream = streams[0]
        self.fps = float(stream.average_rate or stream.guessed_rate or 25)
        self.duration = None if self.live else media.duration_of(container, stream)
        self.frames = stream.frames or (round(self.duration * self.fps) if self.duration else None)
        frames = self._read()
        first = next(frames, None)  # the size is known once a frame is upright
        if first is None:
            raise VideoError(f"{self.name} holds no frame.")
        self.size: tuple[int, int] = (first.image.shape[1], first.image.shape[0])
        self._frames = chain(iter([first]), frames)  # an iterator lets go of what it has given

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file or the camera."""
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
                time = max(time, seconds - start)  # times never fall, even in a damaged file
                if index == 0:  # asking each frame for its side data would tie it up in a reference cycle
                    width, height = picture.width, picture.height
                    matrix: Any = picture.side_data.get("DISPLAYMATRIX")
                    display = bytes(matrix or b"")
                pixels = converter.reformat(picture, width, height, "rgb24").to_ndarray()
                yield Frame(index, time, media.upright(pixels, display))
                index += 1
        except av.FFmpegError as error:
            raise VideoError(
                f"Cannot read {self.name} from frame {index} on, at about "
                f"{time + bool(index) / self.fps:.3f} s: {reason_of(error)} The frames before it are sound."
            ) from error
        end = time + 1 / self.fps
        if self.duration is not None and self.duration - end > 1:
            warnings.warn(
                f"The pictures of {self.name} end after {end:.1f} s; by its header it lasts "
                f"{self.duration:.1f} s. Unless its sound goes on without pictures, the file is cut off.",
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
            except av.error.BlockingIOError:  # macOS: the camera has no picture yet
                packets = self._container.demux(self._stream)
            except av.FFmpegError:
                # The decoder holds pictures back until their order is clear: those before the damage count.
                for picture in self._stream.decode(None):
                    if picture.pts is None or picture.pts < before:
                        yield picture
                raise
