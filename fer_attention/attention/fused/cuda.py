"""The passes of a fused attention block on a GPU: `aten.py`'s functions, each by a Triton kernel or two."""

from __future__ import annotations

import torch
from torch import Tensor

from fer_attention.attention.fused import triton_ops
from fer_attention.attention.fused.gates import BlockOutput, FusedActivation, spatial_scale

available = triton_ops.available


def pool(
    x: Tensor, *, peak: bool, index: bool, mean_of: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor | None] | None]:
    """Mean and maximum of each channel over its map, (N, C), in one read."""
    mean, values, where = triton_ops.pool(x, peak)
    return mean, None if values is None else (values, where)


def apply(
    x: Tensor,
    gate: Tensor,
    shortcut: Tensor | None,
    activation: FusedActivation,
    *,
    kernel: Tensor | None,
    index: bool,
    scratch: Tensor | None,
) -> BlockOutput:
    """act(x · gate · spatial + shortcut), the spatial scale by a kernel over the gated map's pixels."""
    pixels = spatial = channel = None
    if kernel is not None:
        mean, values, channel = triton_ops.pool_pixels(x, gate)
        pixels = torch.stack([mean, values], 1)
        spatial = spatial_scale(pixels, kernel)
    y = triton_ops.combine(x, gate, spatial, shortcut, activation.name, activation.alpha)
    return BlockOutput(y, pixels, spatial, channel)


def apply_backward(
    grad: Tensor,
    y: Tensor | None,
    x: Tensor,
    gate: Tensor,
    spatial: Tensor | None,
    activation: FusedActivation,
    *,
    affine: None,
) -> tuple[Tensor, Tensor, None, Tensor | None]:
    """The gradient d before the activation, and the sums of d · spatial · x, (N, C), and d · gate · x."""
    d, product, by_position = triton_ops.combine_backward(
        grad, y, x, gate, spatial, activation.name, activation.alpha
    )
    return d, product, None, by_position


def pool_pixels_backward(
    x: Tensor, grad_mean: Tensor, grad_max: Tensor, where: Tensor
) -> tuple[Tensor, None]:
    """Sums over each map, (N, C), of the pixels' gradients times x."""
    return triton_ops.pool_pixels_backward(x, grad_mean, grad_max, where), None


def input_backward(
    grad: Tensor,
    gate: Tensor,
    spatial: Tensor | None,
    pixels: tuple[Tensor, Tensor, Tensor] | None,
    spread: Tensor,
    peak: tuple[Tensor, Tensor] | None,
    slope: None,
) -> Tensor:
    """(grad · spatial + pixels) · gate + spread + peak; pixels and peak reach single values, too."""
    values, where = (None, None) if peak is None else peak
    return triton_ops.input_backward(
        grad, gate, spatial, pixels, (spread * (grad.shape[2] * grad.shape[3]), values, where)
    )
