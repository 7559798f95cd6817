"""Inference in evaluation mode, batch by batch, in any number of threads and in forked processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from weakref import WeakKeyDictionary

import torch
from torch import nn


@dataclass
class _Use:
    """Blocks that have a model in evaluation mode now, and the modules that go back to training mode."""

    blocks: int
    trained: list[nn.Module]


_uses: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode for the block, then restore its own mode, also after an error.

    Several threads may be in such a block at once: the last one to leave restores the modes. A model in
    evaluation mode is not touched.
    """
    with _lock:
        use = _uses.setdefault(model, _Use(0, []))
        use.blocks += 1
        trained = [module for module in model.modules() if module.training]
        if trained:
            use.trained += trained
            model.eval()
    try:
        yield
    finally:
        with _lock:
            use.blocks -= 1
            if not use.blocks:
                del _uses[model]
                for module in use.trained:
                    module.training = True


@cache
def keep_forks_safe() -> None:
    """Give PyTorch one thread in processes that are forked from this one.

    The threads of its pool do not survive a fork, and the child would wait for them for ever. Called when a
    model is prepared for inference.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@torch.inference_mode()
def predict_logits(model: nn.Module, inputs: torch.Tensor, *, batch_size: int = 256) -> torch.Tensor:
    """Compute logits (N, classes), float32 on the CPU, in evaluation mode; the model's own mode is restored.

    Args:
        model: Any network; inputs are converted to its device and type.
        inputs: Normalised images (N, C, H, W).
        batch_size: Images per forward pass.
    """
    weight = next(model.parameters())
    with evaluation_mode(model):
        parts = [model(batch.to(weight)).float().cpu() for batch in torch.split(inputs, batch_size)]
    return torch.cat(parts)
