"""Coordinate attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, SigmoidGate, Start
from fer_attention.attention.parts import GateBatchNorm, reduced_channels


@ATTENTIONS.register("coord")
class CoordAttention(SigmoidGate):
    """Coordinate attention (Hou et al. 2021, arXiv:2103.02907, eq. 4-9).

    z_h and z_w are the means of each channel over its rows and over its columns. A shared 1×1 convolution
    with batch norm and h-swish reads both, f = act(BN(F1 [z_h, z_w])), and two 1×1 convolutions turn its
    parts into scales: y = x · sigmoid(F_h f_h) · sigmoid(F_w f_w). The hidden width is
    max(8, C // reduction).

    The paper leaves the activation and the biases open. The activation is h-swish and F_h and F_w have
    biases, as in the authors' code; F1 has none, since the batch norm after it would cancel it.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per value, the product of one per row and one
    per column of each channel. With `start="open"` both are 2 · sigmoid(…), F_h and F_w start at zero and a
    new block is the identity.

    >>> CoordAttention(64).conv1
    Conv2d(64, 8, kernel_size=(1, 1), stride=(1, 1), bias=False)
    """

    title = "coordinate attention"
    summary = "scales the rows and the columns of each channel"

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 32,
        start: Start = "published",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, start=start)
        self.bounds = (0.0, self.ceiling**2)
        hidden = reduced_channels(channels, reduction, least=8)
        self.conv1 = nn.Conv2d(channels, hidden, 1, bias=False, device=device, dtype=dtype)
        self.bn1 = GateBatchNorm(hidden, device=device, dtype=dtype)
        self.act = nn.Hardswish()
        self.conv_h = nn.Conv2d(hidden, channels, 1, device=device, dtype=dtype)
        self.conv_w = nn.Conv2d(hidden, channels, 1, device=device, dtype=dtype)
        self.start_layers(self.conv_h, self.conv_w)

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each value, (N, C, H, W)."""
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True)
        hidden = self.act(self.bn1(self.conv1(torch.cat([rows, columns.transpose(2, 3)], dim=2))))
        of_rows, of_columns = hidden.split(x.shape[2:], dim=2)
        return self.squash(self.conv_h(of_rows)) * self.squash(self.conv_w(of_columns.transpose(2, 3)))
