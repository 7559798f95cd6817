"""Expressions over time: the faces of a video are tracked and their probabilities smoothed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fer_attention.recognizer import EmotionRecognizer, FacePrediction
from fer_attention.video.detection import check_steps, in_batches, open_reader
from fer_attention.video.reader import Frame, VideoReader, VideoSource
from fer_attention.video.tracking import FaceTracker


@dataclass(frozen=True)
class VideoPrediction:
    """One face in a frame: its track, from 0, and its expression, smoothed over time.

    >>> from fer_attention.faces import Face
    >>> happy = FacePrediction(Face((8, 8, 56, 56), score=1.0), {"happy": 0.9, "sad": 0.1})
    >>> VideoPrediction(track=0, prediction=happy).prediction.emotion
    'happy'
    """

    track: int
    prediction: FacePrediction


@dataclass(frozen=True)
class FrameResult:
    """One frame of a video and the faces in it.

    >>> import numpy as np
    >>> frame = Frame(index=50, time=2.0, image=np.zeros((48, 64, 3), np.uint8))
    >>> FrameResult(frame, faces=[], analysed=True).to_dict()
    {'frame': 50, 'time': 2.0, 'faces': []}

    Attributes:
        frame: The image, its index and its time.
        faces: The largest face first; if this frame was not analysed, those of the last analysed one.
        analysed: True if this frame was analysed.
    """

    frame: Frame
    faces: list[VideoPrediction]
    analysed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return a record for JSON: frame index, time in seconds, and faces with their tracks."""
        return {
            "frame": self.frame.index,
            "time": round(self.frame.time, 3),
            "faces": [{"track": face.track, **face.prediction.to_dict()} for face in self.faces],
        }


class ExpressionSmoother:
    """Exponential moving average of probabilities over time, one for each track.

    With dt seconds since the track's last update, p += (1 - exp(-dt / seconds)) * (new - p): a first-order
    low-pass filter, whose response does not depend on the frame rate. A track starts at its first value.

    >>> smoother = ExpressionSmoother(0.5)
    >>> smoother.update(0, 0.0, {"happy": 1.0, "sad": 0.0})
    {'happy': 1.0, 'sad': 0.0}
    >>> smoother.update(0, 0.5, {"happy": 0.0, "sad": 1.0})["happy"]  # exp(-1)
    0.36787944117144233

    Args:
        seconds: Time constant, after which 63 % of a change are reached. 0 is no smoothing.

    Raises:
        ValueError: The time constant is negative or not finite.
    """

    def __init__(self, seconds: float) -> None:
        if not 0 <= seconds < math.inf:
            raise ValueError(f"smoothing is at least 0 seconds, for instance 0.5; got {seconds}.")
        self.seconds = seconds
        self._tracks: dict[int, tuple[float, dict[str, float]]] = {}

    def update(self, track: int, time: float, probabilities: Mapping[str, float]) -> dict[str, float]:
        """Update a track at a time in seconds, not before the last, and return smoothed probabilities."""
        last, smoothed = self._tracks.get(track, (time, dict(probabilities)))
        weight = 1.0 if self.seconds == 0 else -math.expm1(-max(time - last, 0.0) / self.seconds)
        smoothed = {name: p + weight * (probabilities[name] - p) for name, p in smoothed.items()}
        self._tracks[track] = time, smoothed
        return dict(smoothed)

    def keep(self, tracks: Collection[int]) -> None:
        """Forget all other tracks."""
        self._tracks = {track: self._tracks[track] for track in tracks if track in self._tracks}


def recognize_video(
    recognizer: EmotionRecognizer,
    source: VideoSource | VideoReader,
    *,
    every: int = 1,
    smoothing: float = 0.5,
    batch_size: int = 8,
) -> Iterator[FrameResult]:
    """Recognise the expressions of all faces in a video of any length, frame by frame.

    >>> recognizer = EmotionRecognizer.from_pretrained()  # doctest: +SKIP
    >>> for result in recognize_video(recognizer, "clip.mp4", every=2):  # doctest: +SKIP
    ...     print(result.to_dict())

    At most `batch_size` frames to analyse and the frames between them are in memory, together at most four
    times `batch_size`.

    Args:
        recognizer: Finds the faces and classifies their expressions.
        source: A path, the number of a camera, or a reader, which stays open.
        every: Analyse every `every`-th frame only, from frame 0; the others repeat the faces of the last
            analysed one.
        smoothing: Time constant in seconds for the average of a track's probabilities; 0 is off.
        batch_size: Frames per batch; a camera's frames are analysed one by one.

    Returns:
        An iterator over all frames.

    Raises:
        ValueError: A number is out of range.
        VideoError: While iterating, after the frames before the damage, if the video cannot be read to its
            end.
    """
    check_steps(every, batch_size)
    tracker, smoother = FaceTracker(), ExpressionSmoother(smoothing)

    def followed(found: list[FacePrediction], time: float) -> list[VideoPrediction]:
        numbers = tracker.update([prediction.face for prediction in found], time)
        smoother.keep(tracker.alive)
        return [
            VideoPrediction(n, replace(one, probabilities=smoother.update(n, time, one.probabilities)))
            for n, one in zip(numbers, found, strict=True)
        ]

    def recognized() -> Iterator[FrameResult]:
        faces: list[VideoPrediction] = []
        with open_reader(source) as reader:
            for batch in in_batches(reader, 1 if reader.live else batch_size, every=every):
                images = [frame.image for frame in batch if frame.index % every == 0]
                found = iter(recognizer.predict(images) if images else ())
                del images
                while batch:
                    frame = batch.pop(0)  # popped, to free each frame before the next are read
                    if analysed := frame.index % every == 0:
                        faces = followed(next(found), frame.time)
                    yield FrameResult(frame, list(faces), analysed)

    return recognized()
