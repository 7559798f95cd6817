"""Writing of videos frame by frame, with the sound of the source."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from fer_attention.atomic import replacing
from fer_attention.optional import needs_extra
from fer_attention.video.source import TICK, Clock, VideoError, VideoWarning, open_file

if TYPE_CHECKING:
    import av
    import av.container

_MATRIX = "ITU709"


class VideoWriter:
    """Writer of a video file: H.264, or MPEG-4 if this PyAV cannot encode H.264.

    The file is written under a temporary name and renamed when the block ends. After an error in the block
    there is no file; after KeyboardInterrupt, the usual end with a camera, it has the frames written so far.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with VideoWriter(f"{folder}/grey.mp4", fps=25, size=(64, 48)) as writer:
    ...         writer.write(np.full((48, 64, 3), 128, np.uint8))
    >>> writer.frames
    1

    Args:
        path: The file; its suffix chooses the container: .mp4, .mov or .mkv.
        fps: Average frames per second.
        size: (width, height) of the frames. Odd sizes are padded to even ones, which the codec needs, by
            repeating the last column or row.
        audio_from: The source of the frames, whose first audio stream is copied without re-encoding. Audio
            that the container does not support is left out with a `VideoWarning`.

    Raises:
        ValueError: A number is out of range.
        VideoError: On entering the block, if the container is unknown or does not support the video, or if
            `audio_from` cannot be read.
        OSError: The folder does not exist, or the file cannot be written, for instance on a full disk.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fps: float,
        size: tuple[int, int],
        audio_from: str | os.PathLike[str] | None = None,
    ) -> None:
        if not 0 < fps <= 1000:
            raise ValueError(f"fps is a number in (0, 1000]; got {fps}.")
        if min(size) < 1:
            raise ValueError(f"size is (width, height), each at least 1 pixel; got {size}.")
        self.path = Path(path)
        self.fps = fps
        self.size = size
        self.audio_from = None if audio_from is None else Path(audio_from)
        self.frames, self._last_tick, self._last_time = 0, -1, 0.0
        self._end = 0.0  # of the last frame, in seconds
        self._sound: Iterator[tuple[float, av.Packet[Any]]] = iter(())
        self._sound_time = -math.inf  # of the last copied packet, in seconds

    def __enter__(self) -> VideoWriter:
        with needs_extra("faces", "Videos are written by PyAV"):
            import av
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path))
            audio = None
            if self.audio_from is not None:
                try:
                    source = stack.enter_context(open_file(self.audio_from))
                except (OSError, ValueError, av.FFmpegError) as error:
                    raise VideoError(f"Cannot read the sound of {self.audio_from}: {error}") from error
                audio = next(iter(source.streams.audio), None)
            self._container = stack.enter_context(self._opened(temporary, audio))
            self._files = stack.pop_all()
        return self

    def _opened(self, temporary: Path, audio: av.AudioStream | None) -> av.container.OutputContainer:
        """Open the output and write its header; without audio if the container does not support it."""
        import av

        try:
            container = av.open(str(temporary), "w")
        except (ValueError, av.FFmpegError) as error:
            raise VideoError(
                f"Cannot write {self.path}: no video format has the suffix {self.path.suffix!r}. Use .mp4."
            ) from error
        try:
            self._stream = self._picture_stream(container)
            if audio is not None:
                self._sound = self._packets(audio, container.add_stream_from_template(audio))
            container.start_encoding()
        except (ValueError, av.FFmpegError) as error:
            with suppress(av.FFmpegError):
                container.close()
            if audio is None:
                raise VideoError(f"Cannot write {self.path}: {error}. Use .mp4, .mov or .mkv.") from error
            without = self._opened(temporary, None)
            self._sound = iter(())
            warnings.warn(
                f"The sound of {self.audio_from} is left out: not supported by {self.path.suffix} ({error}).",
                VideoWarning,
                stacklevel=3,
            )
            return without
        return container

    def _picture_stream(self, container: av.container.OutputContainer) -> av.VideoStream:
        import av

        codec = "libx264" if "libx264" in av.codec.codecs_available else "mpeg4"
        rate = Fraction(self.fps).limit_denominator(1001)
        stream = cast("av.VideoStream", container.add_stream(codec, rate=rate))
        stream.width, stream.height = (side + side % 2 for side in self.size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = TICK
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709, as `_MATRIX`
        context.color_range = 1  # limited
        if codec == "libx264":
            # No B-frames: with them the durations of a varying frame rate are wrong.
            stream.options = {"preset": "veryfast", "crf": "20", "bf": "0"}
        else:
            stream.bit_rate = round(0.2 * stream.width * stream.height * self.fps)
        return stream

    def write(self, image: npt.NDArray[np.uint8], time: float | None = None) -> None:
        """Append a frame.

        Args:
            image: uint8 RGB of shape (H, W, 3), of the writer's size.
            time: Seconds from the start, not before the last frame; None is 1 / fps after it.

        Raises:
            ValueError: The image has another size or type, or the time decreases.
            OSError: The file cannot be written.
        """
        import av

        width, height = self.size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"A frame is uint8 RGB of shape {(height, width, 3)}; got {image.dtype} {image.shape}."
            )
        time = self._end if time is None else time
        if not self._last_time <= time < math.inf:
            raise ValueError(
                f"Times start at 0 and do not decrease; got {time} s after {self._last_time:.3f} s."
            )
        tick = max(round(time / TICK), self._last_tick + 1)
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=_MATRIX)
        frame.pts, frame.time_base = tick, TICK
        with self._naming_errors():
            self._encode(frame)
            self.frames, self._last_time, self._last_tick = self.frames + 1, time, tick
            self._end = time + 1 / self.fps
            self._copy_sound(until=self._end)

    def stop_sound(self) -> None:
        """Copy no sound beyond the last frame, for a video that ends before its source."""
        self._sound_time = math.inf

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import av

        interrupted = isinstance(error, KeyboardInterrupt)
        if not self.frames or (error is not None and not interrupted):
            reason = error or VideoError(f"No frame was written to {self.path}, so the file was not created.")
            with suppress(av.FFmpegError):
                self._files.__exit__(type(reason), reason, trace)
            if error is None:
                warnings.warn(str(reason), VideoWarning, stacklevel=2)
            return
        with self._naming_errors(), self._files:
            if interrupted:
                self.stop_sound()
            self._encode(None)
            self._copy_sound(until=math.inf)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        # In a single call: KeyboardInterrupt is raised between calls, and a packet that is encoded but not
        # written would damage the frames after it.
        list(map(self._container.mux, map(self._stream.encode, [frame])))

    def _copy_sound(self, until: float) -> None:
        while self._sound_time < until:
            self._sound_time, packet = next(self._sound, (math.inf, None))
            if packet is not None:
                self._container.mux(packet)

    def _packets(
        self, audio: av.AudioStream, stream: av.AudioStream
    ) -> Iterator[tuple[float, av.Packet[Any]]]:
        """Yield the source's packets of sound with their times in seconds, from the start of the video."""
        import av

        source = cast("av.container.InputContainer", audio.container)
        start = (source.start_time or 0) / 1e6
        damaged, end = False, 0.0
        clock: Clock | None = None
        try:
            for packet in source.demux(audio):
                if packet.pts is None or packet.dts is None:  # the last one is empty
                    continue
                tick = float(packet.time_base)
                clock = clock or Clock(step=max(float(packet.duration or 0) * tick, 0.001), tick=0.001)
                time = packet.pts * tick - start
                end = clock(time)
                shift = round((end - time - start) / tick)
                packet.pts += shift
                packet.dts += shift
                packet.stream = stream
                yield end, packet
        except av.FFmpegError:
            damaged = True
        if damaged or (audio.duration or 0) * float(audio.time_base or 0) - end > 1:
            warnings.warn(
                f"The sound of {self.audio_from} is damaged or truncated: it ends after {end:.1f} s.",
                VideoWarning,
                stacklevel=4,
            )

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        import av

        try:
            yield
        except av.FFmpegError as error:
            raise OSError(f"Cannot write {self.path}: {error}") from error
