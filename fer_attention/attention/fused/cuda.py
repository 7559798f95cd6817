"""The passes of a fused attention block on a GPU: the functions of `aten.py` as Triton kernels.

Maps are (N, C, H, W) in float64, float32, bfloat16 or float16, and not empty. They are read in either memory
format (others are copied first); a resulting map has the type and format of its input. Small tensors have one
value per sample and channel, (N, C), or per sample and position, (N, H, W), in float32, or in float64 for
float64 maps. Sums have that type, too, and are the same in every run. Nothing here records gradients.

Each kernel is an operator, such as `torch.ops.fer_attention.pool`, so that `torch.compile` and `torch.export`
see one node of known shapes. An operator returns only new tensors; the functions here return None where its
result is empty. They run on CPU tensors only in Triton's interpreter, for tests.

The cost of a pass is the number of times that it reads or writes a map, which its docstring states as
"Traffic". Small tensors add between a fiftieth and a tenth of a map.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef, custom_op  # type: ignore[attr-defined]

from fer_attention.attention.fused import triton_launch as launch
from fer_attention.attention.fused.gates import BlockOutput, FusedActivation, spatial_scale
from fer_attention.attention.fused.triton_launch import dense_like, memory_format, wide_type

AVAILABLE = importlib.util.find_spec("triton") is not None
"""Triton is installed; on some platforms PyTorch comes without it."""

_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _operator(step: Callable[..., Any], schema: str) -> CustomOpDef:
    """Register a step as `torch.ops.fer_attention.<its name>`."""
    name = f"fer_attention::{step.__name__}"
    return custom_op(name, step, mutates_args=(), device_types=("cuda", "cpu"), schema=schema)


_pool = _operator(launch.pool, "(Tensor x, *, bool peak) -> (Tensor, Tensor, Tensor)")
_pool_pixels = _operator(launch.pool_pixels, "(Tensor x, Tensor gate) -> (Tensor, Tensor, Tensor)")
_combine = _operator(
    launch.combine,
    "(Tensor x, Tensor gate, Tensor? spatial, Tensor? shortcut, str act, float alpha) -> Tensor",
)
_combine_backward = _operator(
    launch.combine_backward,
    "(Tensor grad, Tensor? y, Tensor x, Tensor gate, Tensor? spatial, str act, float alpha)"
    " -> (Tensor, Tensor, Tensor)",
)
_pool_pixels_backward = _operator(
    launch.pool_pixels_backward, "(Tensor x, Tensor grad_mean, Tensor grad_max, Tensor where) -> Tensor"
)
_input_backward = _operator(
    launch.input_backward,
    "(Tensor d, Tensor gate, Tensor? spatial, Tensor? pixel_mean, Tensor? pixel_max, Tensor? pixel_where,"
    " Tensor mean, Tensor? max, Tensor? where) -> Tensor",
)


def pool(x: Tensor, *, peak: bool, mean_of: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Compute mean and, if `peak`, maximum and its first position of each channel, each (N, C).

    Positions count row by row, h·W + w, in either memory format. A NaN counts as the largest value.
    `mean_of` is always x here.

    Traffic: one read.
    """
    _check(x)
    mean, maximum, where = _pool(x, peak=peak)
    return mean, (maximum, where) if peak else None


def pool_pixels(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute mean and maximum of x · gate over the channels, and the maximum's channel: each (N, H, W).

    The product is not rounded to the map's type first.

    Traffic: one read.
    """
    _check(x, per_channel=(gate,))
    mean, maximum, where = _pool_pixels(x, gate)
    return mean, maximum, where


def combine(
    x: Tensor, gate: Tensor, spatial: Tensor | None, shortcut: Tensor | None, activation: FusedActivation
) -> Tensor:
    """Compute act(x · gate · spatial + shortcut), rounded once.

    Traffic: one read, one more of the shortcut, one write.
    """
    _check(x, per_channel=(gate,), per_position=(spatial,), maps=(shortcut,))
    return _combine(x, gate, spatial, shortcut, activation.name, float(activation.alpha))


def apply(
    x: Tensor,
    gate: Tensor,
    shortcut: Tensor | None,
    activation: FusedActivation,
    *,
    kernel: Tensor | None,
    ceiling: float,
    scratch: Tensor | None,
) -> BlockOutput:
    """Compute act(x · gate · spatial + shortcut); a kernel over the gated map's pixels gives `spatial`.

    `ceiling` is the upper bound of `spatial`.
    """
    pixels = spatial = channel = None
    if kernel is not None:
        mean, values, channel = pool_pixels(x, gate)
        pixels = torch.stack([mean, values], 1)
        spatial = spatial_scale(pixels, kernel, ceiling)
    return BlockOutput(combine(x, gate, spatial, shortcut, activation), pixels, spatial, channel)


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
    """Compute the gradient d before the activation, and sums of d · spatial · x, (N, C), and d · gate · x.

    The slope of ReLU is 1 where y > 0, that of ELU is also y + alpha elsewhere. The identity needs no y and
    returns the gradient itself, without a copy if its layout is that of x.

    Traffic: reads of grad, y and x, one write; two reads with the identity.
    """
    act = activation.name
    _check(x, per_channel=(gate,), per_position=(spatial,), maps=(grad, y))
    if act == "identity":
        grad, y = dense_like(grad, x), None
    elif y is None:
        raise ValueError(f"The slope of {act} is computed from y, which is None.")
    d, of_gate, of_spatial = _combine_backward(grad, y, x, gate, spatial, act, float(activation.alpha))
    return grad if act == "identity" else d, of_gate, None, None if spatial is None else of_spatial


def pool_pixels_backward(
    x: Tensor, grad_mean: Tensor, grad_max: Tensor, where: Tensor
) -> tuple[Tensor, None]:
    """Sum over each map, (N, C), the pixels' gradients times x.

    Traffic: one read.
    """
    _check(x, per_position=(grad_mean, grad_max, where))
    return _pool_pixels_backward(x, grad_mean, grad_max, where), None


def input_backward(
    grad: Tensor,
    gate: Tensor,
    spatial: Tensor | None,
    pixels: tuple[Tensor, Tensor, Tensor] | None,
    spread: Tensor,
    peak: tuple[Tensor, Tensor] | None,
    slope: None,
) -> Tensor:
    """Compute (grad · spatial + pixels) · gate + spread + peak, as `aten.input_backward` does.

    Traffic: one read, one write.
    """
    _check(grad, per_channel=(gate, spread, *(peak or ())), per_position=(spatial, *(pixels or ())))
    mean = spread * (grad.shape[2] * grad.shape[3])  # the kernel divides
    statistics = *(pixels or (None, None, None)), mean, *(peak or (None, None))
    return _input_backward(grad, gate, spatial, *statistics)


@_pool.register_fake
def _(x: Tensor, *, peak: bool) -> tuple[Tensor, ...]:
    shape = x.shape[:2] if peak else (0,)
    mean = x.new_empty(x.shape[:2], dtype=wide_type(x))
    return mean, mean.new_empty(shape), mean.new_empty(shape, dtype=torch.int32)


@_pool_pixels.register_fake
def _(x: Tensor, gate: Tensor) -> tuple[Tensor, ...]:
    mean = x.new_empty((x.shape[0], *x.shape[2:]), dtype=wide_type(x))
    return mean, torch.empty_like(mean), torch.empty_like(mean, dtype=torch.int32)


@_combine.register_fake
@_input_backward.register_fake
def _(x: Tensor, *others: object) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@_combine_backward.register_fake
def _(
    grad: Tensor, y: Tensor | None, x: Tensor, gate: Tensor, spatial: Tensor | None, act: str, alpha: float
) -> tuple[Tensor, ...]:
    d = x.new_empty(0) if act == "identity" else torch.empty_like(x, memory_format=memory_format(x))
    grad_gate = gate.new_empty(gate.shape, dtype=wide_type(x))
    return d, grad_gate, grad_gate.new_empty(0 if spatial is None else spatial.shape)


@_pool_pixels_backward.register_fake
def _(x: Tensor, *others: Tensor) -> Tensor:
    return x.new_empty(x.shape[:2], dtype=wide_type(x))


def _check(
    x: Tensor,
    *,
    per_channel: tuple[Tensor | None, ...] = (),
    per_position: tuple[Tensor | None, ...] = (),
    maps: tuple[Tensor | None, ...] = (),
) -> None:
    """Check shapes against that of the map: a kernel with a wrong one reads beyond its memory."""
    if x.ndim != 4 or x.dtype not in _TYPES:
        raise ValueError(
            f"Expected a map (N, C, H, W) of 16, 32 or 64-bit floats, got {tuple(x.shape)}, {x.dtype}."
        )
    n, c, h, w = x.shape
    for given, shape in ((per_channel, (n, c)), (per_position, (n, h, w)), (maps, (n, c, h, w))):
        for values in given:
            if values is not None and tuple(values.shape) != shape:
                raise ValueError(f"Expected {shape} with a map {(n, c, h, w)}, got {tuple(values.shape)}.")
