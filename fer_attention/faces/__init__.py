"""Faces in photos: detectors behind one protocol, the crop that a network sees, pictures of the detections.

>>> from fer_attention.faces import CropRule, Face, crop_region
>>> face = Face(box=(10, 20, 90, 120), score=0.99)
>>> crop_region(face.box, CropRule(scale=1.0), image_size=(200, 150))
(0.0, 20.0, 100.0, 120.0)
"""

from fer_attention.faces.align import align_face, alignment
from fer_attention.faces.crop import crop_face, crop_region
from fer_attention.faces.cropper import CroppedFace, FaceCropper, cut_face, cut_input, select_faces
from fer_attention.faces.detectors import DETECTORS, RotatedDetector, create_detector
from fer_attention.faces.draw import annotate
from fer_attention.faces.face import BoxCalibration, Face, FaceDetector
from fer_attention.faces.geometry import CropTransform
from fer_attention.faces.images import ImageError, ImageSource, load_image
from fer_attention.faces.quality import FaceQuality, QualityFilter, face_quality
from fer_attention.preprocessing import CropRule

__all__ = [
    "DETECTORS",
    "BoxCalibration",
    "CropRule",
    "CropTransform",
    "CroppedFace",
    "Face",
    "FaceCropper",
    "FaceDetector",
    "FaceQuality",
    "ImageError",
    "ImageSource",
    "QualityFilter",
    "RotatedDetector",
    "align_face",
    "alignment",
    "annotate",
    "create_detector",
    "crop_face",
    "crop_region",
    "cut_face",
    "cut_input",
    "face_quality",
    "load_image",
    "select_faces",
]
