"""Inference of a fused attention block on CPUs: no backward pass follows, and nothing is stored for it."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor

from fer_attention.attention.fused.aten import combine, per_channel, rows_of
from fer_attention.attention.fused.computation import BlockInputs, FusedStep
from fer_attention.attention.fused.gates import Tensors, spatial_scale

FEW = 64
"""Positions below which reductions over them take longer than a copy of the map to channels-last."""


def infer(step: FusedStep, inputs: BlockInputs, parameters: Tensors) -> Tensor:
    """Compute act(attention(norm(x)) + shortcut), (N, C, H, W) -> (N, C, H, W).

    Parameters are those of the channel gate, then the spatial gate's kernel.
    """
    x, y = inputs.x, None
    if step.norm is not None and inputs.weight is not None and inputs.bias is not None:
        x, _ = step.norm.forward(x, inputs.weight, inputs.bias, keep=False)
        y = x
    gate, _ = step.channel.forward(*_pool_channels(x, peak=step.channel.peak), parameters)
    scale = per_channel(gate, x)
    if step.spatial:
        x = y = torch.mul(x, scale, out=y)
        pixels = _pool_pixels(x).to(gate.dtype)
        scale = spatial_scale(pixels, parameters[-1], step.channel.ceiling).to(x.dtype).unsqueeze(1)
    return combine(x, scale, inputs.shortcut, step.activation, out=y)


def _pool_channels(x: Tensor, *, peak: bool) -> tuple[Tensor, Tensor | None]:
    """Compute mean and, if `peak`, maximum of each channel, (N, C), in float32 or wider."""
    rows, last = rows_of(x)
    if peak and not last and rows.shape[2] < FEW:
        rows, last = rows.mT.contiguous(), True
    wide = torch.promote_types(x.dtype, torch.float32)
    positions = 1 if last else 2
    return rows.mean(positions).to(wide), rows.amax(positions).to(wide) if peak else None


def _pool_pixels(x: Tensor) -> Tensor:
    """Compute mean and maximum over the channels, (N, 2, H, W)."""
    n, c, h, w = x.shape
    rows, last = rows_of(x)
    mean = rows.mean(2 if last else 1)
    if last:
        highest = rows.amax(2)
    else:  # first of every 32nd channel, in vectors that are longer than a small map
        few = gcd(c, 32)
        highest = rows.view(n, c // few, few * h * w).amax(1).view(n, few, h * w).amax(1)
    return torch.stack([mean, highest], 1).view(n, 2, h, w)
