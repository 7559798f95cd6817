"""Spatial group-wise enhance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, SigmoidGate, Start

EPSILON = 1e-5


@ATTENTIONS.register("sge")
class SGEBlock(SigmoidGate):
    """Spatial group-wise enhance (Li et al. 2019, arXiv:1905.09646, eq. 1-5).

    In each of G groups of channels, g is the mean of the vectors x_i over all positions, and c_i = g · x_i
    the similarity of each position to it. c is normalised over the positions, (c_i - mu) / (sigma + 1e-5),
    and y_i = x_i · sigmoid(gamma c_i + beta). gamma and beta have one value per group and start at 0 and 1,
    as in the authors' code, so a new block scales everything by sigmoid(1) = 0.73. With
    `start="open"` the scale is 2 · sigmoid(…), both start at 0 and a new block is the identity.

    Choices where the paper is open or its code differs:

    - The paper divides the variance by the number of positions m, the authors' code by m - 1. The paper's
      rule is used; it is also defined for a map of one position.
    - `groups` is G, a divisor of C. The default is the paper's 64 wherever it divides C, otherwise the
      greatest common divisor of both.
    - c and its statistics are float32 or wider, since products of values exceed the range of float16.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample, group and position.

    >>> SGEBlock(96)
    SGEBlock(channels=96, groups=32)
    """

    title = "SGE"
    summary = "scales positions in each group of channels by their similarity to the group's mean"

    def __init__(
        self,
        channels: int,
        *,
        groups: int | None = None,
        start: Start = "published",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, start=start)
        groups = math.gcd(channels, 64) if groups is None else groups
        if groups < 1 or channels % groups:
            raise ValueError(f"groups={groups} must divide channels={channels} without remainder.")
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(groups, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.ones(groups, device=device, dtype=dtype))
        self.start_layers(self)

    def extra_repr(self) -> str:
        """Return the text that `repr` shows: the block contains no layer to show."""
        return ", ".join(
            filter(None, [f"channels={self.channels}, groups={self.groups}", super().extra_repr()])
        )

    def _grouped(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        return x.view(n, self.groups, self.channels // self.groups, height, width)

    def _importance(self, grouped: Tensor) -> Tensor:
        """Compute the scale of each group and position, (N, G, C/G, H, W) -> (N, G, 1, H, W)."""
        wide = torch.promote_types(grouped.dtype, torch.float32)
        mean = grouped.mean((3, 4), keepdim=True, dtype=wide)
        similarity = (grouped * mean).sum(2, keepdim=True)
        centred = similarity - similarity.mean((3, 4), keepdim=True)
        # torch's norm has gradient 0 at 0, where that of the square root of a variance is infinite
        norm = torch.linalg.vector_norm(centred, dim=(3, 4), keepdim=True)
        spread = norm / math.sqrt(centred.shape[3] * centred.shape[4])
        slope = self.weight.view(-1, 1, 1, 1) / (spread + EPSILON)
        logits = (centred * slope).add_(self.bias.view(-1, 1, 1, 1))
        return self.squash(logits, inplace=True).to(grouped.dtype)

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each value, (N, C, H, W): the same for all channels of a group."""
        grouped = self._grouped(x)
        return self._importance(grouped).expand_as(grouped).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply a map (N, C, H, W) by its scale, group by group."""
        self._enter(x)
        grouped = self._grouped(x)
        return (grouped * self._importance(grouped)).flatten(1, 2)
