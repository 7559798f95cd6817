"""Parts that several attention blocks share: sizes of hidden layers, statistics of maps, a batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def reduced_channels(channels: int, reduction: int, *, least: int = 0) -> int:
    """Return the hidden width of a bottleneck: channels // reduction, but at least `least`.

    Raises:
        ValueError: The width would be below 1, or `least` is negative.
    """
    if least < 0:
        raise ValueError(f"hidden_floor must be 0 (no floor) or the least hidden width, got {least}.")
    if reduction < 1 or max(least, channels // reduction) < 1:
        raise ValueError(
            f"reduction={reduction} leaves no hidden channel of channels={channels}; "
            f"choose a reduction from 1 to {channels}."
        )
    return max(least, channels // reduction)


def odd_kernel(kernel_size: int, *, option: str = "kernel_size") -> int:
    """Return the kernel size if it is odd and positive: only then does padding preserve the input's size."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"{option} must be odd and positive to keep the map's size, got {kernel_size}.")
    return kernel_size


def energy(x: Tensor, *, keepdim: bool = False) -> Tensor:
    """Sum the squares over the positions of each channel, in float32 or wider: float16 ends at 65504.

    Half precision is squared inside torch's norm, which reads the map once and writes no wider copy. For
    other types plain squares are precise enough and faster, many times so on channels-last maps on a CPU.

    Shape: (N, C, H, W) -> (N, C), or (N, C, 1, 1) with `keepdim`.
    """
    if x.dtype in (torch.float16, torch.bfloat16):
        return torch.linalg.vector_norm(x, dim=(2, 3), keepdim=keepdim, dtype=torch.float32).square()
    return x.square().sum((2, 3), keepdim=keepdim)


def first_maximum(x: Tensor, dim: int) -> Tensor:
    """Compute the maximum with `keepdim`; the gradient goes to the first position that reaches it."""
    if torch.is_grad_enabled() and x.requires_grad and torch._C._get_tracing_state() is None:
        return x.max(dim, keepdim=True).values
    return x.amax(dim, keepdim=True)  # several times as fast, if no gradient is needed


class GateBatchNorm(nn.BatchNorm2d):
    """Batch norm for the small maps inside a gate, which may hold a single value per channel.

    A single value has no variance. For a training batch of one sample and one position, this layer uses the
    running statistics, as in evaluation, and leaves them unchanged; torch's own layer refuses such a batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a map (N, C, H, W)."""
        if self.training and x.numel() == self.num_features:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
