"""Face detectors behind one protocol, each registered by its name."""

from fer_attention.faces.detectors import mtcnn as _mtcnn  # noqa: F401 - registers itself
from fer_attention.faces.detectors.registry import DETECTORS, create_detector

__all__ = ["DETECTORS", "create_detector"]
