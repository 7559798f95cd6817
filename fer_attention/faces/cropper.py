"""From a whole photo to its largest face, for data sets whose photos show more than faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from fer_attention.faces.crop import CropRule, crop_face
from fer_attention.faces.detectors import create_detector
from fer_attention.faces.face import FaceDetector
from fer_attention.faces.images import ImageError

if TYPE_CHECKING:
    import torch


class FaceCropper:
    """Cuts the square around the largest face out of a photo: a `crop` for the readers of data sets.

    >>> cropper = FaceCropper(rule=CropRule(scale=1.1))
    >>> cropper(Image.new("RGB", (64, 64)))
    Traceback (most recent call last):
    fer_attention.faces.images.ImageError: mtcnn finds no face in the 64×64 photo.

    Args:
        detector: The name of a detector, or one that is built already.
        rule: Which square belongs to a face's box.
        device: Where a detector that is given by name runs.

    Raises:
        UnknownNameError: No detector has that name.
    """

    def __init__(
        self,
        detector: str | FaceDetector = "mtcnn",
        *,
        rule: CropRule = CropRule(),  # noqa: B008 - frozen
        device: str | torch.device = "cpu",
    ) -> None:
        self.detector = create_detector(detector, device=device) if isinstance(detector, str) else detector
        self.rule = rule

    def __call__(self, image: Image.Image) -> Image.Image:
        """The square, in the photo's resolution and mode.

        Args:
            image: An upright RGB or grey photo, as `load_image` gives it.

        Raises:
            ImageError: The detector finds no face.
        """
        [faces] = self.detector.detect([image])
        if not faces:
            raise ImageError(f"{self.detector.name} finds no face in the {image.width}×{image.height} photo.")
        return crop_face(image, faces[0].box, self.rule)
