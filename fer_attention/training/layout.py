"""The memory format of the images and weights of a run."""

from __future__ import annotations

import torch
from torch import nn

NARROWEST = 16
"""Least input channels of a strided 1×1 convolution on channels-last maps on a CPU.

Below, the weight gradient of oneDNN on several threads writes beyond its buffer, and the process crashes
(https://github.com/uxlfoundation/oneDNN/issues/6035; measured with oneDNN 3.12 on AVX-512: 2 to 15 channels).
"""


def memory_format(model: nn.Module, device: torch.device, *, channels_last: bool) -> torch.memory_format:
    """Return channels-last where it is asked for and the CPU computes it rightly, else contiguous."""
    crashes = device.type == "cpu" and any(map(_is_narrow, model.modules()))
    return torch.channels_last if channels_last and not crashes else torch.contiguous_format


def _is_narrow(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.in_channels // module.groups < NARROWEST
    )
