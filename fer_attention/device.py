"""Where to compute."""

from __future__ import annotations

import time
from functools import cache
from typing import Literal

import torch
from torch.nn import functional as F

BFLOAT16_GAIN = 1.15
"""Speed-up over float32 from which on bfloat16 is worth its rounding."""

ROUNDS = 6
"""Measurements of each type; the first one also makes what is kept for the others."""


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device of a name; `"auto"` is the GPU where there is one.

    Raises:
        ValueError: There is no such device, or it is not available here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device is auto, cpu, cuda or cuda:N; got {device!r}.") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(device)!r} is not available: torch sees {torch.cuda.device_count()} CUDA devices. "
            "Take device='cpu' or 'auto'."
        )
    return resolved


@cache
def fastest_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """The type in which a device trains convolutions faster, by the clock.

    Processors without bfloat16 instructions take about ten times as long in it as in float32, GPUs before
    Ampere somewhat longer; no list of devices stays right, so it is timed. Takes well under a second, once a
    process. The rounds alternate and the best counts, so that a busy machine decides as an idle one does.
    """
    types = (torch.float32, torch.bfloat16)
    rounds = [[_training_time(device, dtype) for dtype in types] for _ in range(ROUNDS)]
    float32, bfloat16 = map(min, zip(*rounds, strict=True))
    return "bfloat16" if bfloat16 * BFLOAT16_GAIN < float32 else "float32"


def _training_time(device: torch.device, dtype: torch.dtype) -> float:
    """Time of one convolution forward and backward, seconds."""
    image = torch.ones(16, 64, 24, 24, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(64, 64, 3, 3, device=device, requires_grad=True)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    with torch.enable_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        torch.autograd.backward(F.conv2d(image, weight, padding=1).sum())
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
