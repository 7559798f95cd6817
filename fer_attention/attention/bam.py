"""Bottleneck attention module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, AttentionGate
from fer_attention.attention.parts import GateBatchNorm, reduced_channels


@ATTENTIONS.register("bam")
class BAM(AttentionGate):
    """Bottleneck attention module (Park et al. 2018, arXiv:1807.06514, eq. 1-4).

    y = x + x · sigmoid(M_c + M_s), where M_c = BN(W1 relu(W0 z + b0)), z is the mean of each channel, and
    M_s = BN(f3(relu(f2(relu(f1(relu(f0(x)))))))): a 1×1 convolution to C // reduction channels, two dilated
    3×3 convolutions and a 1×1 convolution to one channel.

    Choices where the paper is open or its code differs:

    - The equations show no activation, without which consecutive layers would collapse into one. ReLU is
      used, as in the authors' code.
    - The authors' code normalises inside the branches and not at their ends. The norms of the equations are
      used: they bring both branches to one scale.
    - The authors' code multiplies the branches before the sigmoid, M_c · M_s; the sum of the paper is used.
    - The bias b1 of W1 and that of f3 are omitted, since the batch norm after them cancels any constant.
    - In training, a batch of one sample has a single value per channel in M_c; see `GateBatchNorm`.
    - The paper places one block after each stage of a network; here it takes the slot of all blocks.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (1, 2) per value.

    >>> block = BAM(64, dilation=2)
    >>> block(torch.rand(2, 64, 12, 12)).shape
    torch.Size([2, 64, 12, 12])
    """

    title = "BAM"
    summary = "scales channels and positions in parallel, positions by dilated convolutions"
    bounds = (1.0, 2.0)

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        dilation: int = 4,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        hidden = reduced_channels(channels, reduction)
        if dilation < 1:
            raise ValueError(f"dilation must be at least 1, got {dilation}.")
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        wide: dict[str, Any] = {"padding": dilation, "dilation": dilation, **factory}
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, **factory),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False, **factory),
            GateBatchNorm(channels, **factory),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, **factory),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, **wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, **wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, 1, 1, bias=False, **factory),
            GateBatchNorm(1, **factory),
        )

    def _attention(self, x: Tensor) -> Tensor:
        """Compute sigmoid(M_c + M_s), (N, C, H, W), in place of the sum."""
        return (self.channel(x.mean((2, 3), keepdim=True)) + self.spatial(x)).sigmoid_()

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each value, (N, C, H, W)."""
        return 1 + self._attention(x)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply a map (N, C, H, W) by its scale, in one pass."""
        self._enter(x)
        return torch.addcmul(x, x, self._attention(x))
