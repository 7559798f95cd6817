"""The faces of a video, found in batches of frames and followed from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fer_attention.faces.face import FaceDetector
from fer_attention.video.reader import Frame, VideoReader, VideoSource
from fer_attention.video.source import VideoError
from fer_attention.video.tracking import FaceTracker, TrackedFace

_HELD = 4  # a batch holds up to this many times its analysed frames, with the frames between them


def in_batches(frames: Iterable[Frame], size: int, *, every: int = 1) -> Iterator[list[Frame]]:
    """Groups frames so that each `every`-th of them can be analysed together with others.

    A batch holds all frames in order, at most `size` of them to be analysed (index a multiple of `every`) and
    at most four times as many in all; frames with none to be analysed before them need not wait. After
    damage in the video the frames before it still come, then the error.
    """
    batch: list[Frame] = []
    waiting = 0
    damage = None
    try:
        for frame in frames:
            batch.append(frame)
            waiting += frame.index % every == 0
            if waiting in (0, size) or len(batch) == _HELD * size:
                yield batch
                batch, waiting = [], 0
    except VideoError as error:
        damage = error
    if batch:
        yield batch
    if damage:
        raise damage


@contextmanager
def opened(source: VideoSource | VideoReader) -> Iterator[VideoReader]:
    """The reader of a source: one that is closed afterwards, or the caller's own, left open."""
    if isinstance(source, VideoReader):
        yield source
    else:
        with VideoReader(source) as reader:
            yield reader


def checked_steps(every: int, batch_size: int) -> None:
    """Refuses steps below 1 (ValueError)."""
    if every < 1:
        raise ValueError(f"every is 1 for each frame, 2 for each second one, …; got {every}.")
    if batch_size < 1:
        raise ValueError(f"batch_size is 1 or more frames; got {batch_size}.")


def detect_video(
    source: VideoSource | VideoReader,
    detector: FaceDetector,
    *,
    every: int = 1,
    batch_size: int = 8,
    tracker: FaceTracker | None = None,
) -> Iterator[tuple[Frame, list[TrackedFace]]]:
    """Finds and follows the faces of a video, however long: at most `batch_size` frames are in memory.

    Args:
        source: A path, the number of a camera, or a reader, which is left open.
        detector: What finds the faces.
        every: Look at each `every`-th frame only, from frame 0; the others are not given.
        batch_size: Frames that go through the detector together; a camera's go one by one.
        tracker: What numbers the faces; a new `FaceTracker` by default.

    Returns:
        An iterator of frames with their faces, the largest face first.

    Raises:
        ValueError: `every` or `batch_size` is below 1.
        VideoError: While iterating: the video cannot be read, or not to its end.
    """
    checked_steps(every, batch_size)
    tracker = tracker or FaceTracker()

    def detected() -> Iterator[tuple[Frame, list[TrackedFace]]]:
        with opened(source) as reader:
            wanted = (frame for frame in reader if frame.index % every == 0)
            for batch in in_batches(wanted, 1 if reader.live else batch_size, every=every):
                for faces in detector.detect([frame.image for frame in batch]):
                    tracked = list(map(TrackedFace, faces, tracker.update(faces)))
                    yield batch.pop(0), tracked  # popped, so that no frame is held while the next are read

    return detected()
