"""Gated channel transformation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, AttentionGate, energy

EPSILON = 1e-5


@ATTENTIONS.register("gct")
class GCTBlock(AttentionGate):
    """Gated channel transformation (Yang et al. 2020, arXiv:1909.11519, section 3).

    s = alpha · sqrt(sum of x² over the map + eps), s' = sqrt(C) · s / sqrt(sum of s² over the channels + eps)
    and y = x · (1 + tanh(gamma s' + beta)), with eps = 1e-5. alpha, gamma and beta are one number per
    channel. alpha starts at 1, gamma and beta at 0: a fresh block changes nothing, and alpha gets its first
    gradient in the second step, when gamma has left 0.

    Open: eps in the second root is added to the sum, as printed; the authors' code adds it to the mean.
    The authors keep weight decay off beta: all three are vectors, which the recipes never decay. They put
    one block before every convolution; here it stands where every block does.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 2) per sample and channel.
    """

    summary = "scales channels by their norms, in competition or together"
    bounds = (0.0, 2.0)

    def __init__(self, channels: int, *, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(channels)
        self.alpha = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))
        self.gamma = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))
        self.beta = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def extra_repr(self) -> str:
        """Text that `repr` shows beside the name, as there is no layer inside."""
        return f"channels={self.channels}"

    def scale(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        embedding = self.alpha * (energy(x) + EPSILON).sqrt()
        length = (embedding.square().sum(1, keepdim=True) + EPSILON).sqrt()
        gate = 1 + (self.gamma * self.channels**0.5 * embedding / length + self.beta).tanh()
        return gate.to(x.dtype)[:, :, None, None]
