"""SimAM, attention without parameters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, AttentionGate
from fer_attention.attention.parts import energy


@ATTENTIONS.register("simam")
class SimAM(AttentionGate):
    """Simple, parameter-free attention (Yang et al. 2021, PMLR 139:11863-11874, eq. 5-6).

    A value t that stands out from its channel, of mean mu and variance v over the map, has a small energy
    e = 4 (v + lambda) / ((t - mu)² + 2 v + 2 lambda), and y = t · sigmoid(1 / e). It is computed as
    1 / e = (t - mu)² / (4 (v + lambda)) + 1/2, which avoids division by a small number.

    The paper divides the variance by M, the size of the map, the authors' code by M - 1. The paper's rule is
    used; it is also defined for a map of one value.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0.62, 1) per value: sigmoid(1/2) is 0.6225.
    `energy_lambda` is lambda, a positive number that keeps the energy of a constant channel finite. `device`
    and `dtype` have no effect, since there are no parameters.

    >>> SimAM(64).scale(torch.ones(1, 64, 2, 2)).unique()  # nothing stands out
    tensor([0.6225])
    """

    title = "SimAM"
    summary = "scales each value by how much it stands out from its channel; no parameters"
    bounds = (0.62, 1.0)

    def __init__(
        self,
        channels: int,
        *,
        energy_lambda: float = 1e-4,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        if not energy_lambda > 0:
            raise ValueError(f"energy_lambda must be a positive number, got {energy_lambda}.")
        self.energy_lambda = energy_lambda

    def extra_repr(self) -> str:
        """Return the text that `repr` shows: the block contains no layer to show."""
        return f"channels={self.channels}, energy_lambda={self.energy_lambda}"

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each value, (N, C, H, W)."""
        centred = x - x.mean((2, 3), keepdim=True)
        variance = energy(centred, keepdim=True) / (x.shape[2] * x.shape[3])
        scale = 0.5 * (variance + self.energy_lambda).rsqrt()
        return (centred * scale.to(x.dtype)).square().add_(0.5).sigmoid_()
