"""Who is who from frame to frame: faces that overlap keep their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fer_attention.faces.face import Face


@dataclass(frozen=True)
class TrackedFace:
    """A face and the number of the track that it belongs to.

    Attributes:
        face: Box, score and landmarks, in pixels of the upright frame.
        track: Counted from 0 in the order of appearance.
    """

    face: Face
    track: int


@dataclass
class _LiveTrack:
    face: Face
    missed: int = 0


class FaceTracker:
    """Gives the faces of successive frames numbers that stay with them.

    The IOU tracker (Bochinski et al. 2017, "High-speed tracking-by-detection without using image
    information"): a face belongs to the track whose last known box it overlaps most. Pairs are taken greedily
    by falling intersection over union; a face that no track fits starts a new one. Nothing is predicted and
    no pixels are compared, so a face that jumps by more than its own size gets a new number, and two faces
    that cross may swap theirs.

    >>> tracker = FaceTracker()
    >>> tracker.update([Face((0, 0, 10, 10), 1), Face((50, 0, 60, 10), 1)])
    [0, 1]
    >>> tracker.update([Face((51, 0, 61, 10), 1), Face((90, 0, 99, 10), 1)])
    [1, 2]

    Args:
        min_iou: Least intersection over union of a face and its track, in (0, 1].
        max_missed: Updates without its face that a track lives through.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(self, *, min_iou: float = 0.3, max_missed: int = 10) -> None:
        if not 0 < min_iou <= 1:
            raise ValueError(f"min_iou lies above 0 and at most at 1, for instance 0.3; got {min_iou}.")
        if max_missed < 0:
            raise ValueError(f"max_missed is 0 or more updates; got {max_missed}.")
        self.min_iou = min_iou
        self.max_missed = max_missed
        self._tracks: dict[int, _LiveTrack] = {}
        self._next = 0

    @property
    def alive(self) -> frozenset[int]:
        """The tracks that a face of the next update may still join."""
        return frozenset(self._tracks)

    def update(self, faces: Sequence[Face]) -> list[int]:
        """The track of each face of the next frame, in the order of the faces.

        No two faces of a frame share a track, and the number of a dead track never comes back.
        """
        tracks: dict[int, int] = {}
        joined: set[int] = set()
        # Equal overlaps go to the older track and the earlier face, so the same faces give the same numbers.
        pairs = sorted(
            (-overlap, number, index)
            for number, track in self._tracks.items()
            for index, face in enumerate(faces)
            if (overlap := track.face.iou(face)) >= self.min_iou
        )
        for _, number, index in pairs:
            if index not in tracks and number not in joined:
                tracks[index] = number
                joined.add(number)
        for number in list(self._tracks.keys() - joined):
            self._tracks[number].missed += 1
            if self._tracks[number].missed > self.max_missed:
                del self._tracks[number]
        for index, face in enumerate(faces):
            if index not in tracks:
                tracks[index] = self._next
                self._next += 1
            self._tracks[tracks[index]] = _LiveTrack(face)
        return [tracks[index] for index in range(len(faces))]
