"""Global context block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, AttentionBlock
from fer_attention.attention.parts import reduced_channels


@ATTENTIONS.register("gc")
class GCBlock(AttentionBlock):
    """Global context block (Cao et al. 2019, arXiv:1904.11492, eq. 5).

    y = x + W2 relu(LN(W1 c)), where the context c is the mean of the vectors at all positions, weighted by
    the softmax of Wk x over the positions. It is not a gate: it adds the same vector everywhere and scales
    nothing.

    W2 starts at zero, as in the authors' code, so that a block added to a trained network changes nothing.
    The layers before W2 get their first gradient in the second step, once W2 has left zero. Wk has no bias,
    since the softmax would cancel it. The hidden width is C // reduction, but at least 4, a limit that the
    paper's widths never reach: the layer norm of a single value is always 0, that of two is only their order.

    Shape: (N, C, H, W) -> (N, C, H, W). One summand per sample and channel.

    >>> GCBlock(64).maps(torch.rand(2, 64, 12, 12))["context"].sum((2, 3)).round(decimals=4).flatten()
    tensor([1., 1.], grad_fn=<ViewBackward0>)
    """

    title = "GC"
    summary = "adds one context vector, pooled over all positions, to every position"

    def __init__(
        self, channels: int, *, reduction: int = 16, device: Device = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(channels)
        hidden = reduced_channels(channels, reduction, least=4)
        self.key = nn.Conv2d(channels, 1, 1, bias=False, device=device, dtype=dtype)
        self.fc1 = nn.Linear(channels, hidden, device=device, dtype=dtype)
        self.norm = nn.LayerNorm(hidden, device=device, dtype=dtype)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(hidden, channels, device=device, dtype=dtype)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def context(self, x: Tensor) -> Tensor:
        """Compute the mean over all positions, weighted by shares that sum to 1: (N, C)."""
        return (x.flatten(2) @ self._shares(x).transpose(1, 2)).squeeze(2)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the share of each position in the context, (N, 1, H, W)."""
        return {"context": self._shares(x).reshape(len(x), 1, *x.shape[2:])}

    def _shares(self, x: Tensor) -> Tensor:
        """Compute the share of each position, (N, 1, H·W)."""
        return self.key(x).flatten(2).softmax(2)

    def forward(self, x: Tensor) -> Tensor:
        """Add the transformed context to a map (N, C, H, W)."""
        self._enter(x)
        added = self.fc2(self.act(self.norm(self.fc1(self.context(x)))))
        return x + added[:, :, None, None]
