"""Crops of the faces in whole photos, with the position and quality of each face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_attention.faces.align import align_face, alignment
from fer_attention.faces.crop import crop_face, crop_region
from fer_attention.faces.detectors import create_detector
from fer_attention.faces.face import Face, FaceDetector, largest_first
from fer_attention.faces.geometry import CropTransform, turned_back
from fer_attention.faces.images import ImageError, ImageSource, borrow_image
from fer_attention.faces.quality import FaceQuality, face_quality
from fer_attention.preprocessing import CropRule, Interpolation, Preprocessing, Reference
from fer_attention.registry import check_choice

if TYPE_CHECKING:
    import torch

FaceSelection: TypeAlias = Literal["largest", "central", "all"]

_ACROSS: dict[Reference, Reference] = {"height": "width", "width": "height", "longest": "longest"}


@dataclass(frozen=True)
class CroppedFace:
    """A face, its crop, the map from the crop to the photo, and the quality of the face.

    >>> [[cut]] = FaceCropper("none").crop([Image.new("RGB", (64, 64))])
    >>> cut.face.box, cut.image.size, cut.quality.size
    ((0.0, 0.0, 64.0, 64.0), (64, 64), 64.0)
    """

    face: Face
    image: Image.Image
    transform: CropTransform
    quality: FaceQuality


def select_faces(
    faces: Sequence[Face], selection: FaceSelection, *, image_size: tuple[int, int]
) -> list[Face]:
    """Select some of a photo's faces, the largest first.

    >>> faces = [Face((0, 0, 30, 30), 0.9), Face((40, 40, 60, 60), 0.9)]
    >>> select_faces(faces, "central", image_size=(100, 100)) == faces[1:]
    True

    Args:
        faces: The faces, as a detector returns them.
        selection: "largest" (by area), "central" (the one nearest to the photo's centre) or "all".
        image_size: (width, height) of the photo.

    Raises:
        UnknownNameError: There is no such selection.
    """
    check_choice("selection of faces", selection, get_args(FaceSelection))
    ordered = largest_first(faces)
    if selection == "central":
        x, y = image_size[0] / 2, image_size[1] / 2
        ordered.sort(key=lambda face: (face.centre[0] - x) ** 2 + (face.centre[1] - y) ** 2)
    return ordered if selection == "all" else ordered[:1]


def cut_face(
    photo: Image.Image,
    face: Face,
    rule: CropRule,
    *,
    size: int | tuple[int, int] | None = None,
    interpolation: Interpolation = "bilinear",
) -> tuple[Image.Image, CropTransform]:
    """Cut a face out of a photo by any rule.

    Squares are centred on `face.common_box`, `"box"` cuts `face.box`, and `"aligned"` follows the landmarks.
    The crop of a face with a `turn` is turned upright.

    >>> face = Face(box=(60, 40, 120, 120), score=0.99)
    >>> crop, transform = cut_face(Image.new("RGB", (200, 150)), face, CropRule(), size=48)
    >>> crop.size, transform.to_photo([(24, 24)])  # the centre of the crop
    ((48, 48), array([[90., 80.]]))

    Args:
        photo: An upright RGB or grey photo.
        face: A face in the photo.
        rule: The part of the photo that belongs to the face.
        size: Side of the crop, (height, width), or None for the photo's resolution.
        interpolation: As in `crop_face`.

    Returns:
        The crop, and the map from its pixels to the photo's.

    Raises:
        ValueError: The face lies outside the photo, or the crop is aligned but the face has no landmarks or
            the size is not square.
    """
    if rule.shape != "aligned":
        box = face.box if rule.shape == "box" else face.common_box
        if face.turn in (90, 270):  # height and width change places
            rule = replace(rule, reference=_ACROSS[rule.reference])
            size = size if size is None or isinstance(size, int) else size[::-1]
        crop = crop_face(photo, box, rule, size=size, interpolation=interpolation)
        region = crop_region(box, rule, image_size=photo.size)
        to_photo = CropTransform.of_region(region, (crop.height, crop.width))
        return turned_back(crop, face.turn), to_photo.after(CropTransform.of_turn(face.turn, crop.size))
    if face.landmarks is None:
        raise ValueError(
            "Alignment needs landmarks, and this face has none. Use a detector that finds them, such as "
            "'mtcnn', or another crop shape."
        )
    scale = 1.0 if rule.scale is None else rule.scale
    if size is None:
        size = max(1, round(alignment(face.landmarks, size=1, scale=scale).scale))
    elif not isinstance(size, int):
        if size[0] != size[1]:
            raise ValueError(f"An aligned crop is square; got the size {size}.")
        size = size[0]
    crop = align_face(photo, face.landmarks, size=size, scale=scale, interpolation=interpolation)
    return crop, alignment(face.landmarks, size=size, scale=scale)


def cut_input(photo: Image.Image, face: Face, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Cut a face out of a photo as the input of a model: uint8 (channels, H, W), not normalised yet.

    >>> cut_input(Image.new("RGB", (200, 150)), Face((60, 40, 120, 120), 0.99), Preprocessing()).shape
    (1, 48, 48)
    """
    rule, interpolation = preprocessing.crop_rule, preprocessing.interpolation
    crop, _ = cut_face(photo, face, rule, size=preprocessing.size, interpolation=interpolation)
    return preprocessing.prepare(np.asarray(crop)[None])[0]


class FaceCropper:
    """Detector and crop rule in one: finds the faces in photos and cuts them out.

    Readers of data sets take it as their `crop`: called with one photo, it returns the crop of one face.

    >>> cropper = FaceCropper("mtcnn", rule=CropRule(scale=1.1), size=48)
    >>> cropper.crop([Image.new("RGB", (64, 64))])  # no face in the only photo
    [[]]

    Args:
        detector: Name of a detector, or a detector.
        rule: The part of a photo that belongs to a face.
        size: Side of the crops in pixels; None keeps the photo's resolution.
        faces: Selection among several faces: "largest", "central" or "all".
        device: Device for a detector that is passed by name.

    Raises:
        UnknownNameError: No detector or no selection has that name.
    """

    def __init__(
        self,
        detector: str | FaceDetector = "mtcnn",
        *,
        rule: CropRule = CropRule(),  # noqa: B008 - frozen
        size: int | None = None,
        faces: FaceSelection = "largest",
        device: str | torch.device = "auto",
    ) -> None:
        select_faces([], faces, image_size=(1, 1))
        self.detector = create_detector(detector, device=device) if isinstance(detector, str) else detector
        self.rule, self.size, self.faces = rule, size, faces

    def crop(self, images: Sequence[ImageSource]) -> list[list[CroppedFace]]:
        """Find and cut the selected faces of each photo; `images` is that of `FaceDetector.detect`."""
        photos = [borrow_image(source) for source in images]
        found = self.detector.detect(photos)
        return [self.cut(photo, faces) for photo, faces in zip(photos, found, strict=True)]

    def cut(self, photo: Image.Image, faces: Sequence[Face]) -> list[CroppedFace]:
        """Cut the selected ones of the faces in an upright RGB or grey photo."""
        return [
            CroppedFace(face, *cut_face(photo, face, self.rule, size=self.size), face_quality(photo, face))
            for face in select_faces(faces, self.faces, image_size=photo.size)
        ]

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the crop of the first selected face, in the photo's mode; ImageError if there is no face."""
        [faces] = self.detector.detect([image])
        if not (cut := self.cut(image, faces)):
            raise ImageError(f"{self.detector.name} found no face in the {image.width}×{image.height} photo.")
        return cut[0].image
