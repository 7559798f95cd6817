"""Load a classifier by name or path."""

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
    """Load a classifier; only names on the Hugging Face Hub are downloaded.

    >>> load_classifier("resnetv2_18_eca_elu.ferplus", device="cpu").labels[:2]
    ('neutral', 'happy')

    Args:
        weights: Name of bundled weights, path of a weights file or an exported `.onnx` file, or
            `hf-hub:user/name`.
        device: Device to compute on; `"auto"` takes the GPU if there is one.
        threads: CPU threads of ONNX Runtime, for an `.onnx` file only; None leaves the choice to it.

    Raises:
        UnknownNameError: `weights` is neither a file nor the name of bundled weights.
        WeightsError: The file cannot be used or downloaded.
        ValueError: `threads` is given for weights that torch runs, or the device does not exist.
    """
    if Path(weights).suffix == ".onnx":
        return OnnxClassifier(weights, threads=threads, device=device)
    if threads is not None:
        raise ValueError("threads is for .onnx files; use torch.set_num_threads() for torch.")
    if str(weights).startswith(PREFIX):
        return TorchClassifier(load_from_hub(str(weights)), device=device)
    return TorchClassifier(load_weights(weights_path(weights)), device=device)
