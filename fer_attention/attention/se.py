"""Squeeze-and-excitation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, Start
from fer_attention.attention.fused.choice import Implementation
from fer_attention.attention.fused.gates import MLPFormula
from fer_attention.attention.fusible import FusibleGate, GateFormula, mlp_formula
from fer_attention.attention.parts import reduced_channels


@ATTENTIONS.register("se")
class SEBlock(FusibleGate):
    """Squeeze-and-excitation gate (Hu et al. 2018, arXiv:1709.01507, eq. 2-4).

    s = sigmoid(W2 relu(W1 z + b1) + b2), where z is the mean of each channel and the hidden width is
    C // reduction.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample and channel.
    Parameters are named as in timm's SE-ResNets (`fc1`, `fc2`, 1×1 convolutions).

    `hidden_floor` is the least hidden width, for narrow maps: a perceptron of one or two neurons may die.
    timm's SE has a floor of 8. With `start="open"`, s = 2 · sigmoid(…) is within (0, 2), `fc2` starts at zero
    and a new block is the identity.

    >>> block = SEBlock(64, reduction=8)
    >>> block.scale(torch.rand(2, 64, 12, 12)).shape
    torch.Size([2, 64, 1, 1])
    """

    title = "SE"
    summary = "scales channels by a perceptron on the means of all channels"

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        hidden_floor: int = 0,
        start: Start = "published",
        implementation: Implementation = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, start=start, implementation=implementation)
        hidden = reduced_channels(channels, reduction, least=hidden_floor)
        self.fc1 = nn.Conv2d(channels, hidden, 1, device=device, dtype=dtype)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, 1, device=device, dtype=dtype)
        self.start_layers(self.fc2)

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each channel, (N, C, 1, 1)."""
        squeezed = x.mean((2, 3), keepdim=True)
        return self.squash(self.fc2(self.act(self.fc1(squeezed))))

    def formula(self) -> GateFormula | None:
        """Return the gate as the fused step computes it."""
        if type(self) is not SEBlock:
            return None
        return mlp_formula(self, MLPFormula(peak=False, bias=True, ceiling=self.ceiling))
