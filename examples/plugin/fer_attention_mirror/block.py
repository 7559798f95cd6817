"""An attention block: how much a position of the map differs from its mirror image."""

from __future__ import annotations

import torch
from torch import nn

from fer_attention.attention import ATTENTIONS, AttentionGate


@ATTENTIONS.register("mirror")
class MirrorGate(AttentionGate):
    """Mirror gate (an example, not published).

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample and position.
    """

    def __init__(
        self,
        channels: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        self.conv = nn.Conv2d(2, 1, 1, device=device, dtype=dtype)

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, H, W), from the channels' means here and at the mirrored position."""
        mean = x.mean(1, keepdim=True)
        return torch.sigmoid(self.conv(torch.cat([mean, mean.flip(3)], dim=1)))
