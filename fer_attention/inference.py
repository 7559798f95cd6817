"""Inference in evaluation mode, batch by batch, leaving the model's own modes as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode for the block, then restore its own mode, also after an error."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@torch.inference_mode()
def predict_logits(model: nn.Module, inputs: torch.Tensor, *, batch_size: int = 256) -> torch.Tensor:
    """Compute logits (N, classes), float32 on the CPU, in evaluation mode; the model's own mode is restored.

    Args:
        model: Any network; inputs are moved to its device.
        inputs: Normalised images (N, C, H, W).
        batch_size: Images per forward pass.
    """
    device = next(model.parameters()).device
    with evaluation_mode(model):
        parts = [model(batch.to(device)).float().cpu() for batch in torch.split(inputs, batch_size)]
    return torch.cat(parts)
