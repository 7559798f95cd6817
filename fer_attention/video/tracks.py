"""Summaries of tracks: from when to when a person was seen, and with which expression on average."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from fer_attention.recognizer import FacePrediction
from fer_attention.video.recognition import FrameResult


@dataclass
class TrackSummary:
    """One person in a video so far.

    >>> from fer_attention.faces import Face
    >>> happy = FacePrediction(Face((8, 8, 56, 56), score=1.0), {"happy": 0.9, "sad": 0.1})
    >>> track = TrackSummary(first=2.0, latest=happy)
    >>> track.add(2.5, happy)
    >>> track.mean.emotion, track.last
    ('happy', 2.5)

    Attributes:
        first: Seconds of the first analysed frame.
        latest: The face in the latest analysed frame.
        last: Seconds of the latest analysed frame.
        frames: Number of analysed frames.
    """

    first: float
    latest: FacePrediction
    last: float = 0.0
    frames: int = 0
    _sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, time: float, face: FacePrediction) -> None:
        """Add the face of an analysed frame, at a time in seconds."""
        self.last, self.latest = time, face
        self.frames += 1
        for name, probability in face.probabilities.items():
            self._sums[name] += probability

    @property
    def mean(self) -> FacePrediction:
        """The latest face with the mean probabilities."""
        return replace(self.latest, probabilities={name: p / self.frames for name, p in self._sums.items()})


class TrackSummaries(dict[int, TrackSummary]):
    """Summaries of all tracks of a video, by number.

    >>> TrackSummaries().lasting
    {}
    """

    def add(self, result: FrameResult) -> None:
        """Add the faces of a frame if it was analysed."""
        if result.analysed:
            for face in result.faces:
                time, found = result.frame.time, face.prediction
                self.setdefault(face.track, TrackSummary(time, found)).add(time, found)

    @property
    def lasting(self) -> dict[int, TrackSummary]:
        """Tracks of more than one analysed frame in order, or all of them if there are none of these."""
        return dict(sorted((n, track) for n, track in self.items() if track.frames > 1)) or dict(self)
