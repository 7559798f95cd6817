"""Warnings about training problems: overfitting and vanishing gradients.

The paper expects them for attention on small data and for ELU in very deep networks (arXiv:2410.17740).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from fer_attention.training.history import Epoch

GAP_EPOCHS = 5
"""Epochs without a lower validation loss before overfitting is reported."""

GAP_RISE = 0.1
"""Smallest rise of the validation loss to report, relative to its minimum and at least in nats."""

VANISHING = 1e-4
"""Ratio to the median layer's relative gradient, below which a layer's has vanished."""


def overfitting_warning(history: Sequence[Epoch]) -> str | None:
    """Return a warning if the validation loss rises while the training loss falls."""
    if len(history) <= GAP_EPOCHS:
        return None
    lowest = min(history, key=lambda epoch: epoch.validation_loss)
    last = history[-1]
    waited = last.epoch - lowest.epoch
    rises = last.validation_loss - lowest.validation_loss > GAP_RISE * max(1, lowest.validation_loss)
    if waited < GAP_EPOCHS or not rises or last.loss >= lowest.loss:
        return None
    return (
        f"overfitting: since epoch {lowest.epoch} the training loss fell from {lowest.loss:.3f} to "
        f"{last.loss:.3f} while the validation loss rose from {lowest.validation_loss:.3f} to "
        f"{last.validation_loss:.3f}. Try more augmentation, a smaller model or stop_after."
    )


def relative_gradients(model: nn.Module) -> dict[str, float]:
    """Return the gradient norm over the weight norm for each convolution and linear layer."""
    layers = {
        name: layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)) and layer.weight.grad is not None
    }
    if not layers:
        return {}
    ratios = torch.stack(
        [
            weight.grad.norm() / weight.detach().norm().clamp(min=1e-12)  # type: ignore[union-attr]
            for weight in layers.values()
        ]
    )
    return dict(zip(layers, ratios.tolist(), strict=True))


def vanishing_warning(epochs: Sequence[Mapping[str, float]]) -> str | None:
    """Return a warning that names the layers whose relative gradient vanished in each of two last epochs.

    A single epoch says little: layers before one that starts at zero, as in an open gate, learn late.
    """
    if len(epochs) < 2 or not epochs[-1]:
        return None
    both = _vanished(epochs[-1]) & _vanished(epochs[-2])
    vanished = [name for name in epochs[-1] if name in both]
    if not vanished:
        return None
    shown = ", ".join(vanished[:5]) + (f" and {len(vanished) - 5} more" if len(vanished) > 5 else "")
    return (
        f"vanishing gradients: {shown} learn less than {VANISHING:g} times as fast as the median layer "
        f"({_median(epochs[-1]):.2g} of its weights per step). Try normalisation, a higher lr or a shallower "
        "model."
    )


def _median(gradients: Mapping[str, float]) -> float:
    return sorted(gradients.values())[len(gradients) // 2]


def _vanished(gradients: Mapping[str, float]) -> set[str]:
    least = VANISHING * _median(gradients)
    return {name for name, value in gradients.items() if value < least or value == 0}
