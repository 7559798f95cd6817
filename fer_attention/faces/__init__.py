"""Faces in photos: detectors behind one protocol, the crop that a network sees, pictures of the finds.

>>> from fer_attention.faces import CropRule, Face
>>> face = Face(box=(10, 20, 90, 120), score=0.99)
>>> CropRule(scale=1.0).square(face.box, image_size=(200, 150))
(0.0, 20.0, 100.0, 120.0)
"""

from fer_attention.faces.crop import CropRule, crop_face
from fer_attention.faces.cropper import FaceCropper
from fer_attention.faces.detectors import DETECTORS, create_detector
from fer_attention.faces.draw import annotate
from fer_attention.faces.face import Face, FaceDetector
from fer_attention.faces.images import ImageError, ImageSource, load_image

__all__ = [
    "DETECTORS",
    "CropRule",
    "Face",
    "FaceCropper",
    "FaceDetector",
    "ImageError",
    "ImageSource",
    "annotate",
    "create_detector",
    "crop_face",
    "load_image",
]
