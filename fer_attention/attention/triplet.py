"""Triplet attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, SigmoidGate, Start
from fer_attention.attention.parts import GateBatchNorm, first_maximum, odd_kernel


@ATTENTIONS.register("triplet")
class TripletAttention(SigmoidGate):
    """Triplet attention (Misra et al. 2021, arXiv:2010.03045, section 3).

    There is one branch for each pair of the dimensions C, H and W. It reduces the third dimension to its
    maximum and its mean (Z-pool). A k×k convolution over the plane of the pair, batch norm and sigmoid then
    give one scale per point of that plane. y = (x·w_CW + x·w_CH + x·w_HW) / 3. The paper rotates the map so
    that the pooled dimension comes first, and back afterwards; pooling along that dimension is equivalent.

    The paper leaves two things open. The convolution has no bias here, since the batch norm after it would
    cancel one, and the norm has torch's momentum.

    With `start="open"` each branch is 2 · sigmoid(…), its norm starts with weight 0, and a new block is the
    identity.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per value, the mean of three.

    >>> sum(p.numel() for p in TripletAttention(64, kernel_size=3).parameters())
    60
    """

    title = "triplet attention"
    summary = "scales the planes C×W, C×H and H×W"

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        start: Start = "published",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, start=start)
        k = odd_kernel(kernel_size)

        def branch() -> nn.Sequential:
            conv = nn.Conv2d(2, 1, k, padding=k // 2, bias=False, device=device, dtype=dtype)
            norm = GateBatchNorm(1, device=device, dtype=dtype)
            self.start_layers(norm)
            return nn.Sequential(conv, norm)

        self.cw, self.ch, self.hw = branch(), branch(), branch()

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each value, (N, C, H, W)."""
        cw = self.squash(self.cw(_z_pool(x, 2))).squeeze(1).unsqueeze(2)  # (N, 1, C, W) to (N, C, 1, W)
        ch = self.squash(self.ch(_z_pool(x, 3))).squeeze(1).unsqueeze(3)  # (N, 1, C, H) to (N, C, H, 1)
        hw = self.squash(self.hw(_z_pool(x, 1)))
        return (cw / 3 + ch / 3).add_(hw / 3)  # planes are divided before the sum, which writes one full map


def _z_pool(x: Tensor, dim: int) -> Tensor:
    """Stack maximum and mean along one dimension as two channels of the plane of the other two."""
    return torch.stack([first_maximum(x, dim).squeeze(dim), x.mean(dim)], dim=1)
