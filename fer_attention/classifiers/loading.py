"""A classifier by its name or path."""

from __future__ import annotations

from pathlib import Path

import torch

from fer_attention.classifiers.base import Classifier
from fer_attention.classifiers.onnx_classifier import OnnxClassifier
from fer_attention.classifiers.torch_classifier import TorchClassifier
from fer_attention.models import load_weights
from fer_attention.models.bundled import DEFAULT, weights_path
from fer_attention.models.hub import PREFIX, load_from_hub


def load_classifier(
    weights: str | Path = DEFAULT, *, device: str | torch.device = "auto", threads: int | None = None
) -> Classifier:
    """Load a classifier, ready to use; only a name of the Hugging Face Hub leads to a download.

    >>> load_classifier("resnetv2_18_eca_elu.ferplus", device="cpu").labels[:2]
    ('neutral', 'happy')

    Args:
        weights: Bundled weights by name, the path of a weights file or of an exported `.onnx` file, or
            `hf-hub:user/name`.
        device: Where it computes; `"auto"` takes the GPU where there is one.
        threads: Of ONNX Runtime, for an `.onnx` file; None leaves them to it.

    Raises:
        UnknownNameError: Neither a file nor bundled weights.
        WeightsError: The file cannot be used, or not be fetched.
        ValueError: `threads` for weights that torch runs, or there is no such device.
    """
    if Path(weights).suffix == ".onnx":
        return OnnxClassifier(weights, threads=threads, device=device)
    if threads is not None:
        raise ValueError("threads is for .onnx files; torch.set_num_threads() sets torch's.")
    if str(weights).startswith(PREFIX):
        return TorchClassifier(load_from_hub(str(weights)), device=device)
    return TorchClassifier(load_weights(weights_path(weights)), device=device)
