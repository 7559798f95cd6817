"""Efficient channel attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, Start
from fer_attention.attention.fused.choice import Implementation
from fer_attention.attention.fused.gates import NeighbourFormula
from fer_attention.attention.fusible import FusibleGate, GateFormula
from fer_attention.attention.parts import odd_kernel


def eca_kernel_size(channels: int, *, gamma: float = 2, b: float = 1) -> int:
    """Compute the adaptive kernel size |log2(C)/gamma + b/gamma|, rounded to an odd number.

    Wang et al. 2020, arXiv:1910.03151, eq. 12, rounded as in the authors' code: down, then up to the next
    odd number.

    Raises:
        ValueError: `channels` is below 1, or `gamma` is not positive.

    >>> print(*(eca_kernel_size(c) for c in (64, 128, 256, 512, 1024, 2048)))
    3 5 5 5 5 7
    """
    if channels < 1 or gamma <= 0:
        raise ValueError(f"Expected channels >= 1 and gamma > 0, got channels={channels}, gamma={gamma}.")
    floor = int(abs((math.log2(channels) + b) / gamma))
    return floor if floor % 2 else floor + 1


@ATTENTIONS.register("eca")
class ECABlock(FusibleGate):
    """Efficient channel attention gate (Wang et al. 2020, arXiv:1910.03151, eq. 9 and 12).

    s = sigmoid(conv1d_k(z)), where z is the mean of each channel and the convolution, of k weights in all,
    runs over neighbouring channels. `kernel_size=None` means `eca_kernel_size(channels)`.

    With `start="open"`, s = 2 · sigmoid(…) is within (0, 2), the kernel starts at zero and a new block is the
    identity.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample and channel.

    >>> sum(p.numel() for p in ECABlock(512).parameters())
    5
    """

    title = "ECA"
    summary = "scales channels by the means of neighbouring channels, with a handful of parameters"

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int | None = None,
        gamma: float = 2,
        b: float = 1,
        start: Start = "published",
        implementation: Implementation = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, start=start, implementation=implementation)
        k = odd_kernel(eca_kernel_size(channels, gamma=gamma, b=b) if kernel_size is None else kernel_size)
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False, device=device, dtype=dtype)
        self.start_layers(self.conv)

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each channel, (N, C, 1, 1)."""
        squeezed = x.mean((2, 3)).unsqueeze(1)  # (N, 1, C): the channels are the sequence
        return self.squash(self.conv(squeezed)).transpose(1, 2).unsqueeze(-1)

    def formula(self) -> GateFormula | None:
        """Return the gate as the fused step computes it."""
        conv = self.conv
        if type(self) is not ECABlock or type(conv) is not nn.Conv1d:
            return None
        return GateFormula(NeighbourFormula(self.ceiling), {"conv.weight": conv.weight}, (self, conv))
