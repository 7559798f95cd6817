"""Forward and backward pass of a fused attention block, in passes over whole maps.

    y = act(attention(norm(x)) + shortcut)

Compared with running the modules one by one, this saves passes over memory. Scale, shortcut and activation
are one pass, one product yields the gradients of all gates, and the norm's backward pass derives its sums
from those of the gates. Values that are cheap to recompute are not saved. Only the norm's input is, which a
norm saves anyway, so that in training the block needs hardly more memory than a residual block without
attention.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fer_attention.attention.fused import aten
from fer_attention.attention.fused.choice import kernels_for
from fer_attention.attention.fused.gates import (
    ChannelFormula,
    FusedActivation,
    Tensors,
    spatial_scale_backward,
)
from fer_attention.attention.fused.norm import FusedBatchNorm, Normalisation


class FusedStep(NamedTuple):
    """Settings of a fused step, besides the tensors that are differentiated."""

    channel: ChannelFormula
    spatial: bool  # whether a spatial gate follows; its kernel is the last of the parameters
    activation: FusedActivation  # at the end of the block
    norm: FusedBatchNorm | None  # before the attention, if it is part of the step
    block: nn.Module  # the attention block, whose plain modules yield second derivatives
    names: tuple[str, ...]  # names of the parameters in the block

    def folds(self, x: Tensor) -> bool:
        """Return whether the norm's backward pass works by sums; half precision is too coarse for them."""
        precise = x.dtype in (torch.float32, torch.float64)
        return self.norm is not None and precise and kernels_for(x) is aten


class BlockInputs(NamedTuple):
    """Tensors that are differentiated; None where a block has no such tensor."""

    x: Tensor  # the map before the norm, (N, C, H, W)
    shortcut: Tensor | None  # the map to add
    weight: Tensor | None  # of the norm
    bias: Tensor | None  # of the norm


class SavedTensors(NamedTuple):
    """Tensors that the backward pass needs besides the inputs; None where a block has no such tensor."""

    y: Tensor | None  # the output, if the activation's derivative depends on it
    norm_mean: Tensor | None  # statistics of the norm
    norm_invstd: Tensor | None
    mean: Tensor  # of each channel, (N, C); before the norm if its backward pass works by sums
    position: Tensor | None  # of each channel's maximum, (N, C)
    gate: Tensor  # the channel gate's scale, (N, C)
    pixels: Tensor | None  # each pixel's mean and maximum, (N, 2, H, W)
    spatial: Tensor | None  # the spatial gate's scale, (N, H, W)
    channel: Tensor | None  # of each pixel's maximum, (N, H, W)


def forward(
    step: FusedStep, inputs: BlockInputs, parameters: Tensors, *, keep: bool
) -> tuple[Tensor, SavedTensors, Tensors]:
    """Compute the output, and the tensors that the backward passes of step and channel gate need.

    Parameters are those of the channel gate, then the spatial gate's kernel. Without `keep`, no backward pass
    follows.
    """
    passes: Any = kernels_for(inputs.x)
    x, scratch, norm = inputs.x, None, None
    if step.norm is not None and inputs.weight is not None and inputs.bias is not None:
        x, norm = step.norm.forward(inputs.x, inputs.weight, inputs.bias, keep=keep)
        scratch = x
    folds = keep and step.folds(x)
    wide = torch.promote_types(x.dtype, torch.float32)
    mean, maximum = passes.pool(x, peak=step.channel.peak, mean_of=inputs.x if folds else x)
    mean = pooled = mean.to(wide)
    if folds and norm is not None:
        pooled = mean * norm.scale + norm.offset
    peak, position = (None, None) if maximum is None else maximum
    gate, of_channel = step.channel.forward(pooled, None if peak is None else peak.to(wide), parameters)
    kernel = parameters[-1] if step.spatial else None
    applied = passes.apply(
        x,
        gate,
        inputs.shortcut,
        step.activation,
        kernel=kernel,
        ceiling=step.channel.ceiling,
        scratch=scratch,
    )
    saved = SavedTensors(
        None if step.activation.name == "identity" else applied.y,
        None if norm is None else norm.mean,
        None if norm is None else norm.invstd,
        mean,
        position,
        gate,
        applied.pixels,
        applied.spatial,
        applied.channel,
    )
    return applied.y, saved, of_channel


class BlockGradients(NamedTuple):
    """Gradients of the inputs, and of the parameters in their order; None where none is needed."""

    x: Tensor | None
    shortcut: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    parameters: Tensors


def backward(
    step: FusedStep,
    grad: Tensor,
    inputs: BlockInputs,
    parameters: Tensors,
    saved: SavedTensors,
    of_channel: Tensors,
    *,
    needs_x: bool,
) -> BlockGradients:
    """Compute all gradients from that of the output, (N, C, H, W), and from the saved tensors.

    `needs_x` is true if the gradient of x, of the norm's weight or of its bias is needed.
    """
    passes: Any = kernels_for(inputs.x)
    x, gate, norm = inputs.x, saved.gate, _normalisation(step.norm, inputs, saved)
    folds = step.folds(x)
    if norm is not None and not folds:
        x = norm.again(x)
    layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    d, product, total, of_spatial = passes.apply_backward(
        grad.contiguous(memory_format=layout),
        saved.y,
        x,
        gate,
        saved.spatial,
        step.activation,
        affine=(norm.scale, norm.offset) if norm is not None and folds else None,
    )
    product, total = product.to(gate.dtype), None if total is None else total.to(gate.dtype)
    pixels = None
    of_kernel: Tensors = ()
    if saved.pixels is not None and saved.spatial is not None:
        of_pixels, kernel = spatial_scale_backward(
            of_spatial.to(gate.dtype), saved.pixels, saved.spatial, parameters[-1], step.channel.ceiling
        )
        of_kernel = (kernel,)
        pixels = of_pixels[:, 0].contiguous(), of_pixels[:, 1].contiguous(), saved.channel
        more_product, more_total = passes.pool_pixels_backward(x, *pixels)
        product = product + more_product
        total = None if total is None else total + more_total
    of_gate = product if norm is None or total is None else norm.scale * product + norm.offset * total
    of_mean, of_peak, of_parameters = step.channel.backward(of_gate, of_channel, parameters)
    result = BlockGradients(None, d, None, None, (*of_parameters, *of_kernel))
    if not needs_x:
        return result

    spread = of_mean / (x.shape[2] * x.shape[3])
    if norm is None or total is None:
        peak = None if of_peak is None else (of_peak, saved.position)
        of_x = passes.input_backward(d, gate, saved.spatial, pixels, spread, peak, None)
        if norm is None:
            return result._replace(x=of_x)
        of_x, of_weight, of_bias = norm.backward(of_x, inputs.x)
        return result._replace(x=of_x, weight=of_weight, bias=of_bias)

    total, product = gate * total + of_mean, gate * product + of_mean * saved.mean
    peak = None
    if of_peak is not None:
        total, product = total + of_peak, product + of_peak * passes.values_at(x, saved.position)
        peak = of_peak * norm.scale, saved.position
    count = x.numel() // x.shape[1]
    slope, offset, of_weight, of_bias = norm.backward_from_sums(total, product, count=count)
    spread = spread * norm.scale + offset
    of_x = passes.input_backward(d, gate * norm.scale, saved.spatial, pixels, spread, peak, (x, slope))
    return result._replace(x=of_x, weight=of_weight, bias=of_bias)


def _normalisation(
    norm: FusedBatchNorm | None, inputs: BlockInputs, saved: SavedTensors
) -> Normalisation | None:
    weight, bias, mean, invstd = inputs.weight, inputs.bias, saved.norm_mean, saved.norm_invstd
    if norm is None or weight is None or bias is None or mean is None or invstd is None:
        return None
    return Normalisation(norm, weight, bias, mean, invstd)
