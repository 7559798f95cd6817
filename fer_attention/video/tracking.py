"""Tracking: faces that overlap from frame to frame have the same number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from fer_attention.faces.face import Face


@dataclass(frozen=True)
class TrackedFace:
    """A face, in pixels of the upright frame, and its track, numbered from 0 in order of appearance.

    >>> faces = [Face((0, 0, 10, 10), 1), Face((50, 0, 60, 10), 1)]
    >>> [one.track for one in map(TrackedFace, faces, FaceTracker().update(faces, 0.0))]
    [0, 1]
    """

    face: Face
    track: int


class FaceTracker:
    """IOU tracker: faces whose boxes overlap from frame to frame have the same track.

    A face joins the track whose last known box it overlaps most; a face without a match starts a new one.
    Pairs are matched greedily by decreasing intersection over union (Bochinski et al. 2017, "High-speed
    tracking-by-detection without using image information"). Neither motion nor pixels are considered: a face
    that jumps by more than its own size gets a new number, and two faces that cross may swap theirs.

    >>> tracker = FaceTracker()
    >>> tracker.update([Face((0, 0, 10, 10), 1), Face((50, 0, 60, 10), 1)], time=0.0)
    [0, 1]
    >>> tracker.update([Face((51, 0, 61, 10), 1), Face((90, 0, 99, 10), 1)], time=0.04)
    [1, 2]

    Args:
        min_iou: Minimum intersection over union of a face and its track, in (0, 1].
        max_gap: Seconds after which a track without a face ends, at the second update without one at the
            earliest.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(self, *, min_iou: float = 0.3, max_gap: float = 1.0) -> None:
        if not 0 < min_iou <= 1:
            raise ValueError(f"min_iou is a number in (0, 1], for instance 0.3; got {min_iou}.")
        if not 0 <= max_gap < math.inf:
            raise ValueError(f"max_gap is at least 0 seconds, for instance 1; got {max_gap}.")
        self.min_iou = min_iou
        self.max_gap = max_gap
        self._tracks: dict[int, tuple[Face, float]] = {}  # the last known face, and its time
        self._time = -math.inf  # of the last update
        self._numbers = count()

    @property
    def alive(self) -> frozenset[int]:
        """Tracks that had not ended at the last update."""
        return frozenset(self._tracks)

    def update(self, faces: Sequence[Face], time: float) -> list[int]:
        """Assign a track to each face of the next frame, and return the tracks in the order of the faces.

        No two faces of a frame share a track, and the number of an ended track is never used again.

        Args:
            faces: The faces of the frame.
            time: Time of the frame in seconds. If it is before that of the last update, as in the next video,
                all tracks have ended.
        """
        if time < self._time:
            self._tracks = {}
        self._tracks = {
            number: (face, seen)
            for number, (face, seen) in self._tracks.items()
            if seen == self._time or time - seen <= self.max_gap
        }
        tracks: dict[int, int] = {}
        # Equal overlaps go to the older track and the earlier face, so that results are reproducible.
        pairs = sorted(
            (-overlap, number, index)
            for number, (known, _) in self._tracks.items()
            for index, face in enumerate(faces)
            if (overlap := known.iou(face)) >= self.min_iou
        )
        for _, number, index in pairs:
            if index not in tracks and number not in tracks.values():
                tracks[index] = number
        numbers = [tracks[index] if index in tracks else next(self._numbers) for index in range(len(faces))]
        self._time = time
        self._tracks |= {number: (face, time) for number, face in zip(numbers, faces, strict=True)}
        return numbers
