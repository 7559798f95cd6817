"""Squeeze-and-excitation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, reduced_channels
from fer_attention.attention.fused.choice import Implementation
from fer_attention.attention.fused.gates import MLPFormula
from fer_attention.attention.fusible import FusibleGate, GateFormula, mlp_formula

FORMULA = MLPFormula(peak=False, bias=True)


@ATTENTIONS.register("se")
class SEBlock(FusibleGate):
    """Squeeze-and-excitation gate (Hu et al. 2018, arXiv:1709.01507, eq. 2-4).

    s = sigmoid(W2 relu(W1 z + b1) + b2), z the mean of each channel, hidden width C // reduction.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample and channel.
    Parameters are named as in timm's SE-ResNets (`fc1`, `fc2`, 1×1 convolutions).
    """

    summary = "scales channels by a perceptron of all channels' means"

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        implementation: Implementation = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, implementation=implementation)
        hidden = reduced_channels(channels, reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, device=device, dtype=dtype)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, 1, device=device, dtype=dtype)

    def scale(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        squeezed = x.mean((2, 3), keepdim=True)
        return self.fc2(self.act(self.fc1(squeezed))).sigmoid()

    def formula(self) -> GateFormula | None:
        """The gate for the fused step."""
        return mlp_formula(self, FORMULA) if type(self) is SEBlock else None
