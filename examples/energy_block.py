"""An attention block in a file of its own: `fer-attention --plugin energy_block.py train …`."""

from __future__ import annotations

import torch
from torch import nn

from fer_attention.attention import ATTENTIONS, AttentionGate


@ATTENTIONS.register("energy")
class EnergyGate(AttentionGate):
    """Scale channels by their energy (an example, not published): s = sigmoid(w · mean(x²) + b).

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample and channel.
    """

    summary = "scales channels by their energy"

    def __init__(
        self,
        channels: int,
        *,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.full((channels, 1, 1), gain, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros((channels, 1, 1), device=device, dtype=dtype))

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the scale of each channel, (N, C, 1, 1)."""
        energy = x.float().square().mean((2, 3), keepdim=True)  # float16 ends at 65504
        return torch.sigmoid(self.weight * energy + self.bias).to(x.dtype)
