"""From a video to expressions over time: every frame, its faces followed and their expressions smoothed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fer_attention.recognizer import EmotionRecognizer, FacePrediction
from fer_attention.video.detection import checked_steps, in_batches, opened
from fer_attention.video.reader import Frame, VideoReader, VideoSource
from fer_attention.video.tracking import FaceTracker


@dataclass(frozen=True)
class VideoPrediction:
    """One face of a frame: its track's number, from 0, and its expression, smoothed over time."""

    track: int
    prediction: FacePrediction


@dataclass(frozen=True)
class FrameResult:
    """One frame of a video and the faces in it.

    Attributes:
        frame: The picture, its index and its time.
        faces: The largest face first; those of the last analysed frame where this one was not analysed.
        analysed: Whether this frame itself was looked at.
    """

    frame: Frame
    faces: list[VideoPrediction]
    analysed: bool

    def to_dict(self) -> dict[str, Any]:
        """A record for JSON: frame index, time in seconds to the millisecond, and faces with their tracks."""
        return {
            "frame": self.frame.index,
            "time": round(self.frame.time, 3),
            "faces": [{"track": face.track, **face.prediction.to_dict()} for face in self.faces],
        }


class ExpressionSmoother:
    """Exponential moving averages of probabilities, one for each track, in seconds instead of frames.

    With dt seconds since the track's last update, p += (1 - exp(-dt / seconds)) * (new - p): a low-pass
    filter of first order under a step input, so that looking at fewer frames, or at frames of uneven
    distance, changes how often it is updated and not how fast it follows. A track starts at its first value.

    >>> smoother = ExpressionSmoother(0.5)
    >>> smoother.update(0, 0.0, {"happy": 1.0, "sad": 0.0})
    {'happy': 1.0, 'sad': 0.0}
    >>> smoother.update(0, 0.5, {"happy": 0.0, "sad": 1.0})["happy"]  # exp(-1)
    0.36787944117144233

    Args:
        seconds: Time constant: after it, a change has come through to 63 %. 0 passes values on as they are.

    Raises:
        ValueError: The time constant is negative or not finite.
    """

    def __init__(self, seconds: float) -> None:
        if not 0 <= seconds < math.inf:
            raise ValueError(f"Smoothing is a time of 0 or more seconds, for instance 0.5; got {seconds}.")
        self.seconds = seconds
        self._tracks: dict[int, tuple[float, dict[str, float]]] = {}

    def update(self, track: int, time: float, probabilities: Mapping[str, float]) -> dict[str, float]:
        """The smoothed probabilities of a track; `time` in seconds never falls. Their sum is kept."""
        last, smoothed = self._tracks.get(track, (time, dict(probabilities)))
        weight = 1.0 if self.seconds == 0 else -math.expm1(-max(time - last, 0.0) / self.seconds)
        smoothed = {name: p + weight * (probabilities[name] - p) for name, p in smoothed.items()}
        self._tracks[track] = time, smoothed
        return dict(smoothed)

    def keep(self, tracks: Collection[int]) -> None:
        """Forgets all tracks but these."""
        self._tracks = {track: self._tracks[track] for track in tracks if track in self._tracks}


def recognize_video(
    recognizer: EmotionRecognizer,
    source: VideoSource | VideoReader,
    *,
    every: int = 1,
    smoothing: float = 0.5,
    batch_size: int = 8,
) -> Iterator[FrameResult]:
    """The faces of a video with their expressions, frame by frame, however long it is.

    In memory are at most `batch_size` frames to be analysed and the frames between them, together at most
    four times `batch_size`.

    Args:
        recognizer: What finds the faces and names their expressions.
        source: A path, the number of a camera, or a reader, which is left open.
        every: Analyse each `every`-th frame only, from frame 0; the others are given with the faces of the
            last analysed one.
        smoothing: Time constant in seconds over which a track's probabilities are averaged; 0 is off.
        batch_size: Frames that are analysed together; a camera's go one by one.

    Returns:
        An iterator over every frame.

    Raises:
        ValueError: A number is out of its range.
        VideoError: While iterating: the video cannot be read, or not to its end; the frames before the
            damage have been given then.
    """
    checked_steps(every, batch_size)
    tracker, smoother = FaceTracker(), ExpressionSmoother(smoothing)

    def followed(found: list[FacePrediction], time: float) -> list[VideoPrediction]:
        numbers = tracker.update([prediction.face for prediction in found])
        smoother.keep(tracker.alive)
        result = []
        for number, one in zip(numbers, found, strict=True):
            smoothed = smoother.update(number, time, one.probabilities)
            result.append(VideoPrediction(number, FacePrediction(one.face, smoothed)))
        return result

    def recognized() -> Iterator[FrameResult]:
        faces: list[VideoPrediction] = []
        with opened(source) as reader:
            for batch in in_batches(reader, 1 if reader.live else batch_size, every=every):
                images = [frame.image for frame in batch if frame.index % every == 0]
                found = iter(recognizer.predict(images) if images else ())
                del images
                while batch:
                    frame = batch.pop(0)  # popped, so that no frame is held while the next are read
                    if analysed := frame.index % every == 0:
                        faces = followed(next(found), frame.time)
                    yield FrameResult(frame, list(faces), analysed)

    return recognized()
