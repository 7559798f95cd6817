"""Resolve devices, and measure the faster precision of one."""

from __future__ import annotations

import time
from functools import cache
from typing import Literal

import torch
from torch.nn import functional as F

BFLOAT16_GAIN = 1.15
"""Least speed-up over float32 that makes up for the rounding of bfloat16."""


def resolve_device(device: str | torch.device) -> torch.device:
    """Resolve a name to a torch device; `"auto"` is the GPU if there is one, else the CPU.

    Raises:
        ValueError: The device is unknown, or not available on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device is auto, cpu, cuda or cuda:N; got {device!r}.") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(device)!r} is not available: torch sees {torch.cuda.device_count()} CUDA devices. "
            "Use device='cpu' or 'auto'."
        )
    if resolved.type != "cuda":  # which would start it
        try:
            torch.zeros(1, device=resolved).item()
        except Exception as error:  # every backend has errors of its own
            raise ValueError(
                f"device {str(device)!r} is not available: this PyTorch ({torch.__version__}) cannot compute "
                "on it here. Use device='cpu' or 'auto'."
            ) from error
    return resolved


@cache
def fastest_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """Measure in which precision a device trains convolutions faster.

    Processors without bfloat16 instructions take about ten times as long as in float32, GPUs before Ampere
    somewhat longer. A list of devices would go out of date, so a convolution is timed, once per process and
    in well under a second. Rounds alternate and the fastest counts, so a busy machine decides as an idle one.
    """
    types = (torch.float32, torch.bfloat16)
    rounds = [[_training_time(device, dtype) for dtype in types] for _ in range(6)]  # the first warms up
    float32, bfloat16 = map(min, zip(*rounds, strict=True))
    return "bfloat16" if bfloat16 * BFLOAT16_GAIN < float32 else "float32"


def _training_time(device: torch.device, dtype: torch.dtype) -> float:
    """Time one convolution, forward and backward, in seconds."""
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
