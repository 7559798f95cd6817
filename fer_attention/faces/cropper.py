"""From whole photos to the crops of their faces, each with where it came from and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_attention.faces.align import align_face, alignment
from fer_attention.faces.crop import crop_face, crop_transform
from fer_attention.faces.detectors import create_detector
from fer_attention.faces.face import Face, FaceDetector
from fer_attention.faces.geometry import CropTransform
from fer_attention.faces.images import ImageError, ImageSource, borrow_image
from fer_attention.faces.quality import FaceQuality, face_quality
from fer_attention.preprocessing import CropRule, Interpolation, Preprocessing
from fer_attention.registry import unknown_name

if TYPE_CHECKING:
    import torch

FaceSelection: TypeAlias = Literal["largest", "central", "all"]


@dataclass(frozen=True)
class CroppedFace:
    """A face, its crop, where the crop's pixels lie in the photo, and facts about the face."""

    face: Face
    image: Image.Image
    transform: CropTransform
    quality: FaceQuality


def select_faces(
    faces: Sequence[Face], selection: FaceSelection, *, image_size: tuple[int, int]
) -> list[Face]:
    """Select some of a photo's faces.

    Args:
        faces: The faces, as a detector gives them.
        selection: "largest" by area, "central", whose centre is nearest to the photo's, or "all" of them.
        image_size: (width, height) of the photo.

    Returns:
        The selected faces, the largest first; empty where there are none.

    Raises:
        UnknownNameError: There is no such selection.
    """
    if selection not in get_args(FaceSelection):
        raise unknown_name("selection of faces", selection, get_args(FaceSelection))
    ordered = sorted(faces, key=lambda face: -face.area)
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
    """Cut a face out of a photo by any rule; gives the crop and where its pixels lie in the photo.

    Squares are laid about `face.common_box`, `"box"` cuts `face.box`, `"aligned"` follows the landmarks.

    Args:
        photo: The RGB or grey photo, upright.
        face: A face in it.
        rule: The part of the photo that belongs to it.
        size: Of the crop: its side, (height, width), or None for the photo's resolution.
        interpolation: As in `crop_face`.

    Raises:
        ValueError: The face lies outside the photo, or the rule needs landmarks that the face lacks or a
            square size.
    """
    if rule.shape != "aligned":
        box = face.box if rule.shape == "box" else face.common_box
        transform = crop_transform(box, rule, image_size=photo.size, size=size)
        return crop_face(photo, box, rule, size=size, interpolation=interpolation), transform
    if face.landmarks is None:
        raise ValueError(
            "Alignment needs landmarks, and this face has none. Take a detector that gives them, such as "
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
    """Cut a face out of a photo, as in `cut_face`, for a model: uint8 (channels, H, W), not normalised."""
    rule, interpolation = preprocessing.crop_rule, preprocessing.interpolation
    crop, _ = cut_face(photo, face, rule, size=preprocessing.size, interpolation=interpolation)
    return preprocessing.prepare(np.asarray(crop)[None])[0]


class FaceCropper:
    """Finds the faces of photos and cuts them out.

    It is also a `crop` for the readers of data sets: called with one photo, it gives the chosen face's crop.

    >>> cropper = FaceCropper(rule=CropRule(scale=1.1))
    >>> cropper(Image.new("RGB", (64, 64)))
    Traceback (most recent call last):
    fer_attention.faces.images.ImageError: mtcnn finds no face in the 64×64 photo.

    Args:
        detector: The name of a detector, or one that is built already.
        rule: Which part of the photo belongs to a face.
        size: Side of the crops in pixels; None keeps the photo's resolution.
        faces: Which of several faces are cut: the "largest", the most "central" or "all".
        device: Where a detector that is given by name runs.

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
        """The chosen faces of each photo, as `FaceDetector.detect` takes and lists them."""
        photos = [borrow_image(source) for source in images]
        found = self.detector.detect(photos)
        return [self._cut(photo, faces) for photo, faces in zip(photos, found, strict=True)]

    def cut(self, photo: Image.Image, face: Face) -> CroppedFace:
        """One face of an upright RGB or grey photo."""
        image, transform = cut_face(photo, face, self.rule, size=self.size)
        return CroppedFace(face, image, transform, face_quality(photo, face))

    def _cut(self, photo: Image.Image, faces: Sequence[Face]) -> list[CroppedFace]:
        return [self.cut(photo, face) for face in select_faces(faces, self.faces, image_size=photo.size)]

    def __call__(self, image: Image.Image) -> Image.Image:
        """The crop of the one chosen face, or of the largest, in the photo's mode; ImageError without any."""
        [faces] = self.detector.detect([image])
        cut = self._cut(image, faces)
        if not cut:
            raise ImageError(f"{self.detector.name} finds no face in the {image.width}×{image.height} photo.")
        return cut[0].image
