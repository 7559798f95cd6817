"""The passes of a fused attention block over whole maps, for CUDA: one Triton kernel each.

Maps are (N, C, H, W) in float64, float32, bfloat16 or float16, and not empty. They are read in either memory
format (anything else is copied first); a result that is a map has its input's type and format. What is small
has one value per sample and channel, (N, C), or per sample and position, (N, H, W), in float32, or in float64
beside float64 maps. Sums are of that type, too, and come out the same in every run. Nothing here records
gradients: these are the steps of the forward and the backward pass of an autograd function.

Each step is an operator of its own, `torch.ops.fer_attention.pool` and so on, so that `torch.compile` and
`torch.export` see one node of known shapes. An operator returns nothing but fresh tensors; the functions
here say None where its result is empty. They run on CPU tensors only under Triton's interpreter, for tests.

What a step costs is how often it goes over memory the size of a map: the docstrings say so in "Traffic". What
is small comes on top: between a fiftieth and a tenth of a map.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef, custom_op  # type: ignore[attr-defined]

from fer_attention.attention.fused import triton_launch as launch
from fer_attention.attention.fused.triton_launch import dense_like, memory_format, wide_type

_FOUND = importlib.util.find_spec("triton") is not None
_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_ACTIVATIONS = ("identity", "relu", "elu")


def _operator(step: Callable[..., Any], schema: str) -> CustomOpDef:
    """A step as `torch.ops.fer_attention.<its name>`."""
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


def available() -> bool:
    """Return whether Triton is installed; on some platforms PyTorch comes without it."""
    return _FOUND


def pool(x: Tensor, peak: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Mean of each channel over its map and, if `peak`, its maximum and where that is first.

    Positions count row by row, h·W + w, whatever the memory format. A NaN is the maximum, wherever it stands.

    Traffic: one read.

    Returns:
        Mean and maximum (N, C), position (N, C) in int32; None for the latter two without `peak`.
    """
    _check(x)
    mean, maximum, where = _pool(x, peak=peak)
    return (mean, maximum, where) if peak else (mean, None, None)


def pool_pixels(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and maximum over the channels of x · gate, which is not rounded to the map's type before.

    Traffic: one read.

    Returns:
        Mean and maximum (N, H, W), and the first channel that has it, (N, H, W) in int32.
    """
    _check(x, per_channel=(gate,))
    mean, maximum, where = _pool_pixels(x, gate)
    return mean, maximum, where


def combine(
    x: Tensor, gate: Tensor, spatial: Tensor | None, shortcut: Tensor | None, act: str, alpha: float = 1.0
) -> Tensor:
    """act(x · gate · spatial + shortcut), rounded once.

    The weights `gate` are (N, C), `spatial` (N, H, W). `act` is `"identity"`, `"relu"` or `"elu"`: v where
    v > 0, else alpha (exp(v) - 1).

    Traffic: one read, one more of the shortcut, one write.
    """
    _check(x, per_channel=(gate,), per_position=(spatial,), maps=(shortcut,), act=act)
    return _combine(x, gate, spatial, shortcut, act, float(alpha))


def combine_backward(
    grad: Tensor,
    y: Tensor | None,
    x: Tensor,
    gate: Tensor,
    spatial: Tensor | None,
    act: str,
    alpha: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """From the gradient of `combine`'s result y: of the sum before act, of the gate and the spatial scale.

    The first is the shortcut's gradient, too. ReLU's slope is 1 where y > 0, ELU's 1 there and y + alpha
    elsewhere. With the identity y is not needed, and the gradient comes back as it is, uncopied if it is laid
    out as x is.

    Traffic: reads of grad, y and x, one write; two reads with the identity.

    Returns:
        A map in x's format, the gate's gradient (N, C), and the spatial scale's (N, H, W) or None.
    """
    _check(x, per_channel=(gate,), per_position=(spatial,), maps=(grad, y), act=act)
    if act == "identity":
        grad, y = dense_like(grad, x), None
    elif y is None:
        raise ValueError(f"The slope of {act} is found from y, which is None.")
    d, grad_gate, grad_spatial = _combine_backward(grad, y, x, gate, spatial, act, float(alpha))
    return grad if act == "identity" else d, grad_gate, None if spatial is None else grad_spatial


def pool_pixels_backward(x: Tensor, grad_mean: Tensor, grad_max: Tensor, where: Tensor) -> Tensor:
    """The gate's gradient (N, C) by way of `pool_pixels`, from those of its mean and maximum (N, H, W).

    Traffic: one read.
    """
    _check(x, per_position=(grad_mean, grad_max, where))
    return _pool_pixels_backward(x, grad_mean, grad_max, where)


def input_backward(
    d: Tensor,
    gate: Tensor,
    spatial: Tensor | None,
    pixels: tuple[Tensor, Tensor, Tensor] | None,
    channels: tuple[Tensor, Tensor | None, Tensor | None],
) -> Tensor:
    """The map's gradient: gate · (d · spatial + by way of `pool_pixels`) + by way of `pool`.

    d is the first result of `combine_backward`, whose type and format the result has. `pixels` are gradients
    of `pool_pixels`'s mean and maximum, and its channels, (N, H, W). `channels` are gradients of `pool`'s
    mean and maximum, and its positions, each (N, C); the latter two are None if `pool` took no maximum.

    Traffic: one read, one write.
    """
    _check(d, per_channel=(gate, *channels), per_position=(spatial, *(pixels or ())))
    return _input_backward(d, gate, spatial, *(pixels or (None, None, None)), *channels)


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
    act: str = "identity",
) -> None:
    """Check shapes against the map's: a kernel that believes a wrong one reads foreign memory."""
    if x.ndim != 4 or x.dtype not in _TYPES:
        raise ValueError(
            f"Needs a map (N, C, H, W) of 16, 32 or 64-bit floats, got {tuple(x.shape)}, {x.dtype}."
        )
    n, c, h, w = x.shape
    for given, shape in ((per_channel, (n, c)), (per_position, (n, h, w)), (maps, (n, c, h, w))):
        for values in given:
            if values is not None and tuple(values.shape) != shape:
                raise ValueError(f"Beside a map {(n, c, h, w)} needs {shape}, got {tuple(values.shape)}.")
    if act not in _ACTIVATIONS:
        raise ValueError(f"Unknown activation {act!r}. Known: {', '.join(_ACTIVATIONS)}.")
