"""Registry of face detectors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fer_attention.faces.face import FaceDetector
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry, unknown_name

if TYPE_CHECKING:
    import torch

DETECTORS: Registry[Callable[..., FaceDetector]] = open_registry("face detector")


def check_fractions(**numbers: float) -> None:
    """Check that the named scores and overlaps are in [0, 1] (ValueError)."""
    for name, number in numbers.items():
        if not 0 <= number <= 1:
            raise ValueError(f"{name} is a number in [0, 1]; got {number}.")


def create_detector(name: str, *, device: str | torch.device = "auto", **options: Any) -> FaceDetector:
    """Create a face detector by name.

    >>> from PIL import Image
    >>> detector = create_detector("mtcnn", device="cpu", min_score=0.95)
    >>> detector.detect([Image.new("RGB", (64, 64))])  # no face in the only photo
    [[]]

    Args:
        name: A name in `DETECTORS`, for instance "mtcnn".
        device: Any torch device; "auto" is the GPU if there is one.
        **options: Options of the detector's class.

    Raises:
        UnknownNameError: No detector has this name.
        TypeError: The detector has no such option.
    """
    factory = DETECTORS[name]
    known = inspect.signature(factory).parameters.keys() - {"device"}
    for option in options:
        if option not in known:
            raise TypeError(str(unknown_name(f"option of the detector {name!r}:", option, known)))
    return factory(device=device, **options)
