"""Training problems of which a run warns: overfitting and vanishing gradients.

They are the paper's worries for attention on small data and for ELU in very deep networks (arXiv:2410.17740).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fer_attention.training.history import Epoch

GAP_EPOCHS = 5
"""Epochs without a lower validation loss before a growing gap is named."""

GAP_RISE = 0.1
"""Rise of the validation loss over its lowest, from which on the gap is named, as a share and in nats."""

VANISHING = 1e-4
"""A layer's relative gradient over the median layer's, below which it counts as vanished."""


def overfitting(history: Sequence[Epoch]) -> str | None:
    """A sentence where the validation loss rises while the training loss falls."""
    if len(history) <= GAP_EPOCHS:
        return None
    lowest = min(history, key=lambda epoch: epoch.validation_loss)
    last = history[-1]
    since = last.epoch - lowest.epoch
    rises = last.validation_loss - lowest.validation_loss > GAP_RISE * max(1, lowest.validation_loss)
    if since < GAP_EPOCHS or not rises or last.loss >= lowest.loss:
        return None
    return (
        f"overfitting: since epoch {lowest.epoch} the training loss fell from {lowest.loss:.3f} to "
        f"{last.loss:.3f} while the validation loss rose from {lowest.validation_loss:.3f} to "
        f"{last.validation_loss:.3f}. More augmentation, a smaller model or stop_after helps."
    )


def relative_gradients(model: nn.Module) -> dict[str, float]:
    """The gradient's norm over the weight's, for each convolution and linear layer that has one."""
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


def vanishing(gradients: dict[str, float]) -> str | None:
    """A sentence that names the layers whose relative gradient has vanished beside the others'."""
    if not gradients:
        return None
    median = sorted(gradients.values())[len(gradients) // 2]
    gone = [name for name, value in gradients.items() if value < VANISHING * median or value == 0]
    if not gone:
        return None
    shown = ", ".join(gone[:5]) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
    return (
        f"vanishing gradients: {shown} learn less than {VANISHING:g} times as fast as the median layer "
        f"({median:.2g} of its weights per step). Normalisation, a higher rate or a shallower model helps."
    )
