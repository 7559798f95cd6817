"""Spatial group-wise enhance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, AttentionGate

EPSILON = 1e-5


@ATTENTIONS.register("sge")
class SGEBlock(AttentionGate):
    """Spatial group-wise enhance (Li et al. 2019, arXiv:1905.09646, eq. 1-5).

    In each of G groups of channels: g, the mean of the group's vectors x_i over all positions; c_i = g · x_i,
    how like it each position is; c normalised over the positions, (c_i - mu) / (sigma + 1e-5); then
    y_i = x_i · sigmoid(gamma c_i + beta). gamma and beta are one number per group and start at 0 and 1, as
    in the authors' code, so a fresh block scales everything by sigmoid(1) = 0.73.

    Open: the paper divides the variance by the number of positions m, the authors' code by m - 1. The paper's
    rule is used; it also holds for a map of one position. A group count for narrow maps: the paper's 64
    wherever it divides C, else the greatest number that divides both. c and its statistics are float32 at
    least, as products of values leave the range of float16. `groups` is G, a divisor of C.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample, group and position.
    """

    summary = "scales positions in each group of channels by their likeness to the group's mean"

    def __init__(
        self,
        channels: int,
        *,
        groups: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        groups = math.gcd(channels, 64) if groups is None else groups
        if groups < 1 or channels % groups:
            raise ValueError(f"groups={groups} must divide channels={channels} without remainder.")
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(groups, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.ones(groups, device=device, dtype=dtype))

    def extra_repr(self) -> str:
        """Text that `repr` shows beside the name, as there is no layer inside."""
        return f"channels={self.channels}, groups={self.groups}"

    def _grouped(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        return x.view(n, self.groups, self.channels // self.groups, height, width)

    def _importance(self, grouped: Tensor) -> Tensor:
        """(N, G, C/G, H, W) -> (N, G, 1, H, W)."""
        wide = torch.promote_types(grouped.dtype, torch.float32)
        mean = grouped.mean((3, 4), keepdim=True, dtype=wide)
        similarity = (grouped * mean).sum(2, keepdim=True)
        centred = similarity - similarity.mean((3, 4), keepdim=True)
        # torch's norm has gradient 0 at 0; the square root of a variance has none there
        norm = torch.linalg.vector_norm(centred, dim=(3, 4), keepdim=True)
        spread = norm / math.sqrt(centred.shape[3] * centred.shape[4])
        slope = self.weight.view(-1, 1, 1, 1) / (spread + EPSILON)
        return (centred * slope).add_(self.bias.view(-1, 1, 1, 1)).sigmoid_().to(grouped.dtype)

    def scale(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), the same for all channels of a group."""
        grouped = self._grouped(x)
        return self._importance(grouped).expand_as(grouped).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        self._enter(x)
        grouped = self._grouped(x)
        return (grouped * self._importance(grouped)).flatten(1, 2)
