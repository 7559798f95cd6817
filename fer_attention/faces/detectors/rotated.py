"""Search of photos in four rotations, for faces that lie on their side or stand on their head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from PIL import Image

from fer_attention.faces.face import Box, Face, FaceDetector, largest_first
from fer_attention.faces.geometry import TURNS, CropTransform, turned_back
from fer_attention.faces.images import ImageSource, borrow_image, require_sequence

_SAME = 0.5  # share of the smaller box inside the other, from which two boxes show one face


class RotatedDetector:
    """A detector that searches each photo as it is and turned by 90, 180 and 270 degrees.

    Photos without EXIF orientation may lie on their side. Of a face that is found in several rotations, the
    find with the highest score counts. Its `Face.turn` lets crops be turned upright; boxes and landmarks are
    in pixels of the photo as it is. The search takes four times as long.

    >>> from fer_attention.faces import create_detector
    >>> detector = RotatedDetector(create_detector("mtcnn", device="cpu"))
    >>> detector.name, detector.detect([Image.new("RGB", (64, 48))])
    ('mtcnn', [[]])

    Args:
        detector: The detector of upright faces.

    Raises:
        ValueError: The detector does not search, but takes whole images.
    """

    def __init__(self, detector: FaceDetector) -> None:
        check_rotations(detector.name)
        self.detector = detector
        self.name = detector.name

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """Find the faces in each photo, in any of the four rotations."""
        require_sequence(images)
        return [self._search(borrow_image(source)) for source in images]

    def _search(self, photo: Image.Image) -> list[Face]:
        found = self.detector.detect([turned_back(photo, turn) for turn in TURNS])
        faces = chain.from_iterable(
            [_in_photo(face, turn, photo.size) for face in some]
            for turn, some in zip(TURNS, found, strict=True)
        )
        kept: list[Face] = []
        for face in sorted(faces, key=lambda face: -face.score):
            if not any(one.turn != face.turn and _same(one, face) for one in kept):
                kept.append(face)
        return largest_first(kept)


def check_rotations(detector: str) -> None:
    """Check that a detector can search photos in four rotations."""
    if detector == "none":
        raise ValueError(
            "Rotations need a detector that searches photos; 'none' takes them whole, as they stand."
        )


def _same(one: Face, other: Face) -> bool:
    return one.shared_area(other) > _SAME * min(one.area, other.area)


def _in_photo(face: Face, turn: int, size: tuple[int, int]) -> Face:
    """Map a face that was found in a photo turned back by `turn` to the photo of (width, height)."""
    to_photo = CropTransform.of_turn(turn, size).to_photo
    landmarks = None if face.landmarks is None else tuple(map(tuple, to_photo(face.landmarks)))

    def box(corners: Box) -> Box:
        points = to_photo((corners[:2], corners[2:]))
        return (*points.min(axis=0), *points.max(axis=0))

    return Face(box(face.box), face.score, landmarks, box(face.common_box), turn)
