"""Models and detectors that a visitor can choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_attention.faces import DETECTORS, FaceDetector, create_detector
from fer_attention.models.bundled import DEFAULT, bundled_names
from fer_attention.recognizer import EmotionRecognizer
from fer_attention.registry import check_choice

_BLANK = np.zeros((320, 320, 3), np.uint8)  # for the first pass, whose time would mislead


def usable_detectors(
    first: str = "mtcnn", *, weights: str | Path | None = None, device: str | torch.device = "auto"
) -> tuple[dict[str, FaceDetector], dict[str, str]]:
    """Create every detector that works here.

    >>> detectors, missing = usable_detectors("none", device="cpu")
    >>> list(detectors)[0]
    'none'

    Args:
        first: The detector to start with. It must work.
        weights: Its weights file, if it has none of its own.
        device: Where detectors run. Those that cannot run there fall back to `"auto"`.

    Returns:
        The detectors by name, `first` first; and the reasons why the others do not work, by name.

    Raises:
        ValueError, OSError, ImportError: `first` cannot be created.
    """
    options: dict[str, Any] = {} if weights is None else {"weights": str(weights)}
    detectors = {first: create_detector(first, device=device, **options)}
    missing: dict[str, str] = {}
    for name in [name for name in DETECTORS if name != first]:
        try:
            detectors[name] = create_detector(name, device=device if str(device) == "cpu" else "auto")
        except (ValueError, OSError, ImportError) as error:
            missing[name] = str(error)
    return detectors, missing


class Choices:
    """Models by label, detectors by name, and a recogniser for each pair.

    All models are loaded at the start, so that an unusable file fails then and not during a request.

    >>> Choices((), {"none": create_detector("none")}, device="cpu").detectors
    ['none']

    Args:
        weights: Names or files, as `EmotionRecognizer.from_pretrained` takes them. The bundled weights
            follow.
        detectors: From `usable_detectors`, or detectors of your own.
        device: Where models run.

    Raises:
        ValueError: There is no detector, or weights cannot be used.
    """

    def __init__(
        self,
        weights: Sequence[str | Path],
        detectors: Mapping[str, FaceDetector],
        *,
        device: str | torch.device = "auto",
    ) -> None:
        if not detectors:
            raise ValueError("A demo needs at least one detector; usable_detectors() gives those that work.")
        self._detectors = dict(detectors)
        self._models: dict[str, EmotionRecognizer] = {}
        for source in dict.fromkeys([*map(str, weights), DEFAULT, *bundled_names()]):
            made = EmotionRecognizer.from_pretrained(source, detector="none", device=device)
            made.predict(_BLANK)
            self._models[self._label(source)] = made
        self._made: dict[tuple[str, str], EmotionRecognizer] = {}

    @property
    def models(self) -> list[str]:
        """Labels of the models, the initial one first."""
        return list(self._models)

    @property
    def detectors(self) -> list[str]:
        """Names of the detectors, the initial one first."""
        return list(self._detectors)

    def recognizer(self, model: str, detector: str) -> EmotionRecognizer:
        """Return the recogniser of a model and a detector, which is created once.

        Raises:
            UnknownNameError: The model or the detector is not among the choices.
        """
        for kind, name, known in (("model", model, self.models), ("detector", detector, self.detectors)):
            check_choice(kind, name, known)
        if (model, detector) not in self._made:
            made = EmotionRecognizer(self._models[model].classifier, self._detectors[detector])
            made.predict(_BLANK)
            self._made[model, detector] = made
        return self._made[model, detector]

    def _label(self, source: str) -> str:
        """Return a short name, with a number if the name is taken."""
        name = source if source.startswith("hf-hub:") else Path(source).name.removesuffix(".safetensors")
        labels = chain([name], (f"{name} ({number})" for number in count(2)))
        return next(label for label in labels if label not in self._models)
