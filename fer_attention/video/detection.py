"""Faces in a video, detected in batches of frames and tracked from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from fer_attention.faces.face import FaceDetector
from fer_attention.video.reader import Frame, VideoReader, VideoSource
from fer_attention.video.source import VideoError
from fer_attention.video.tracking import FaceTracker, TrackedFace

_MAX_BATCH = 4  # a batch has up to this many times its analysed frames, with the frames between them


def in_batches(frames: Iterable[Frame], size: int, *, every: int = 1) -> Iterator[list[Frame]]:
    """Group frames into batches with up to `size` frames to analyse, every `every`-th by index.

    A batch has at most four times `size` frames in all, and frames that wait for no analysis pass at once. If
    the video is damaged, the frames before the damage are yielded before the error is raised.
    """
    batch: list[Frame] = []
    waiting = 0
    damage = None
    try:
        for frame in frames:
            batch.append(frame)
            waiting += frame.index % every == 0
            if waiting in (0, size) or len(batch) == _MAX_BATCH * size:
                yield batch
                batch, waiting = [], 0
    except VideoError as error:
        damage = error
    if batch:
        yield batch
    if damage:
        raise damage


def open_reader(source: VideoSource | VideoReader) -> AbstractContextManager[VideoReader]:
    """Return a reader that is closed after the block, or the caller's own, which stays open."""
    return nullcontext(source) if isinstance(source, VideoReader) else VideoReader(source)


def check_steps(every: int, batch_size: int) -> None:
    """Check that both are at least 1 (ValueError)."""
    if every < 1:
        raise ValueError(f"every is at least 1: 1 analyses all frames, 2 every second one; got {every}.")
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1 frame; got {batch_size}.")


def detect_video(
    source: VideoSource | VideoReader,
    detector: FaceDetector,
    *,
    every: int = 1,
    batch_size: int = 8,
    tracker: FaceTracker | None = None,
) -> Iterator[tuple[Frame, list[TrackedFace]]]:
    """Detect and track the faces in a video of any length, with at most `batch_size` frames in memory.

    >>> for frame, faces in detect_video("clip.mp4", create_detector("mtcnn")):  # doctest: +SKIP
    ...     print(frame.time, [(one.track, one.face.box) for one in faces])

    Args:
        source: A path, the number of a camera, or a reader, which stays open.
        detector: The face detector.
        every: Analyse every `every`-th frame only, from frame 0; the others are skipped.
        batch_size: Frames per batch of the detector; a camera's frames are analysed one by one.
        tracker: By default a new `FaceTracker`.

    Returns:
        An iterator over frames with their faces, the largest face first.

    Raises:
        ValueError: `every` or `batch_size` is below 1.
        VideoError: While iterating, if the video cannot be read to its end.
    """
    check_steps(every, batch_size)
    tracker = tracker or FaceTracker()

    def detected() -> Iterator[tuple[Frame, list[TrackedFace]]]:
        with open_reader(source) as reader:
            wanted = (frame for frame in reader if frame.index % every == 0)
            for batch in in_batches(wanted, 1 if reader.live else batch_size, every=every):
                for faces in detector.detect([frame.image for frame in batch]):
                    frame = batch.pop(0)  # popped, to free each frame before the next are read
                    yield frame, list(map(TrackedFace, faces, tracker.update(faces, frame.time)))

    return detected()
