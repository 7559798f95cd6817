"""Times of training steps on random images."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from fer_attention.models import ModelSpec
from fer_attention.models.factory import from_spec
from fer_attention.training.layout import memory_format


def step_timer(
    spec: ModelSpec, *, images: int, channels_last: bool, device: torch.device
) -> Callable[[torch.dtype], float]:
    """Build a new model; each call of the result takes one training step in a type and returns its seconds.

    The step is forward and backward, with autocast to types other than float32. Torch's random state is kept.

    >>> seconds = step_timer(ModelSpec("resnet18", width=0.125), images=2, channels_last=False,
    ...                      device=torch.device("cpu"))
    >>> seconds(torch.float32) > 0
    True
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = from_spec(spec).to(device).train()
        layout = memory_format(model, device, channels_last=channels_last)
        model = model.to(memory_format=layout)
        batch = torch.rand(images, *spec.input_size, device=device).contiguous(memory_format=layout)
        labels = torch.zeros(images, dtype=torch.long, device=device)

    def seconds(dtype: torch.dtype) -> float:
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            start = time.perf_counter()
            with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
                loss = F.cross_entropy(model(batch).float(), labels)
            torch.autograd.backward(loss)
            float(loss.detach())  # waits for a GPU
            return time.perf_counter() - start

    return seconds
