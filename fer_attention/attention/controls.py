"""Control blocks: what attention has to beat. They are no part of the lists of blocks and models."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import CONTROLS, AttentionGate


@CONTROLS.register("constant")
class ConstantGate(AttentionGate):
    """One learned factor per channel, y = x · w, which starts at 1 and does not depend on the input.

    A gate that is no better than this one gains nothing from its input.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale of any size per channel.

    >>> ConstantGate(4)(torch.ones(1, 4, 1, 1)).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    title = "a learned constant per channel"
    summary = "scales channels by learned factors that do not depend on the input"
    bounds = (-math.inf, math.inf)

    def __init__(self, channels: int, *, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))

    def scale(self, x: Tensor) -> Tensor:
        """Return the factor of each channel, (N, C, 1, 1)."""
        return self.weight.to(x.dtype)[None, :, None, None].expand(len(x), -1, -1, -1)


@CONTROLS.register("half")
class HalfGate(AttentionGate):
    """Half of the input, y = x / 2: the start of a published gate, without the gate.

    Shape: (N, C, H, W) -> (N, C, H, W). The scale is 1/2. `device` and `dtype` have no effect, since there
    are no parameters.

    >>> HalfGate(4)(torch.ones(1, 4, 1, 1)).flatten().tolist()
    [0.5, 0.5, 0.5, 0.5]
    """

    title = "a constant 1/2"
    summary = "scales everything by 1/2"

    def __init__(self, channels: int, *, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(channels)

    def scale(self, x: Tensor) -> Tensor:
        """Return 1/2, (N, C, 1, 1)."""
        return x.new_full((len(x), self.channels, 1, 1), 0.5)
