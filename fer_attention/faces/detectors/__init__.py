"""Face detectors behind one protocol, each registered under its name."""

from fer_attention.faces.detectors import mtcnn as _mtcnn  # noqa: F401 - importing registers them
from fer_attention.faces.detectors import whole_image as _whole_image  # noqa: F401
from fer_attention.faces.detectors import yolo as _yolo  # noqa: F401
from fer_attention.faces.detectors import yunet as _yunet  # noqa: F401
from fer_attention.faces.detectors.registry import DETECTORS, create_detector
from fer_attention.faces.detectors.rotated import RotatedDetector

__all__ = ["DETECTORS", "RotatedDetector", "create_detector"]
