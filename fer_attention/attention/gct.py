"""Gated channel transformation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, AttentionGate
from fer_attention.attention.parts import energy

EPSILON = 1e-5


@ATTENTIONS.register("gct")
class GCTBlock(AttentionGate):
    """Gated channel transformation (Yang et al. 2020, arXiv:1909.11519, section 3).

    s = alpha · sqrt(sum of x² over the map + eps), s' = sqrt(C) · s / sqrt(sum of s² over the channels + eps)
    and y = x · (1 + tanh(gamma s' + beta)), with eps = 1e-5. alpha, gamma and beta have one value per
    channel. alpha starts at 1, gamma and beta at 0. A new block is therefore the identity, and alpha gets its
    first gradient in the second step, once gamma has left 0.

    Choices where the paper is open or its code differs:

    - In the second root, eps is added to the sum, as printed; the authors' code adds it to the mean.
    - The authors exempt beta from weight decay. The recipes never decay vectors, so all three are exempt.
    - The authors place a block before every convolution; here it takes the slot of all blocks.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 2) per sample and channel.

    >>> x = torch.rand(2, 64, 12, 12)
    >>> torch.equal(GCTBlock(64)(x), x)  # a new block is the identity
    True
    """

    title = "GCT"
    summary = "scales channels by their norms, which compete or cooperate"
    bounds = (0.0, 2.0)

    def __init__(self, channels: int, *, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(channels)
        self.alpha = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))
        self.gamma = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))
        self.beta = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def extra_repr(self) -> str:
        """Return the text that `repr` shows: the block contains no layer to show."""
        return f"channels={self.channels}"

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each channel, (N, C, 1, 1)."""
        embedding = self.alpha * (energy(x) + EPSILON).sqrt()
        length = (embedding.square().sum(1, keepdim=True) + EPSILON).sqrt()
        gate = 1 + (self.gamma * self.channels**0.5 * embedding / length + self.beta).tanh()
        return gate.to(x.dtype)[:, :, None, None]
