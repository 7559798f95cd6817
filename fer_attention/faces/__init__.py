"""Faces in photos: detectors behind one protocol, the crop that a network sees, pictures of the detections.

>>> from fer_attention.faces import CropRule, Face
>>> face = Face(box=(10, 20, 90, 120), score=0.99)
>>> CropRule(scale=1.0).region(face.box, image_size=(200, 150))
(0.0, 20.0, 100.0, 120.0)
"""

from fer_attention.faces.align import align_face, alignment
from fer_attention.faces.box_shape import BoxShape
from fer_attention.faces.crop import CropRule, crop_face, crop_transform
from fer_attention.faces.cropper import CroppedFace, FaceCropper, choose_faces, cut_face
from fer_attention.faces.detectors import DETECTORS, create_detector
from fer_attention.faces.draw import annotate
from fer_attention.faces.face import Face, FaceDetector
from fer_attention.faces.geometry import CropTransform
from fer_attention.faces.images import ImageError, ImageSource, load_image
from fer_attention.faces.quality import FaceQuality, QualityFilter, face_quality

__all__ = [
    "DETECTORS",
    "BoxShape",
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
    "align_face",
    "alignment",
    "annotate",
    "choose_faces",
    "create_detector",
    "crop_face",
    "crop_transform",
    "cut_face",
    "face_quality",
    "load_image",
]
