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

import torch
from torch.library import custom_op

from fer_attention.attention.fused import triton_launch as launch
from fer_attention.attention.fused.triton_launch import dense_like, memory_format, wide_type

_FOUND = importlib.util.find_spec("triton") is not None
_DEVICES = ("cuda", "cpu")
_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_ACTIVATIONS = ("identity", "relu", "elu")

_pool = custom_op(
    "fer_attention::pool",
    launch.pool,
    mutates_args=(),
    device_types=_DEVICES,
    schema="(Tensor x, *, bool peak) -> (Tensor, Tensor, Tensor)",
)
_pool_pixels = custom_op(
    "fer_attention::pool_pixels",
    launch.pool_pixels,
    mutates_args=(),
    device_types=_DEVICES,
    schema="(Tensor x, Tensor gate) -> (Tensor, Tensor, Tensor)",
)
_combine = custom_op(
    "fer_attention::combine",
    launch.combine,
    mutates_args=(),
    device_types=_DEVICES,
    schema="(Tensor x, Tensor gate, Tensor? spatial, Tensor? shortcut, str act, float alpha) -> Tensor",
)
_combine_backward = custom_op(
    "fer_attention::combine_backward",
    launch.combine_backward,
    mutates_args=(),
    device_types=_DEVICES,
    schema="(Tensor grad, Tensor? y, Tensor x, Tensor gate, Tensor? spatial, str act, float alpha)"
    " -> (Tensor, Tensor, Tensor)",
)
_pool_pixels_backward = custom_op(
    "fer_attention::pool_pixels_backward",
    launch.pool_pixels_backward,
    mutates_args=(),
    device_types=_DEVICES,
    schema="(Tensor x, Tensor grad_mean, Tensor grad_max, Tensor where) -> Tensor",
)
_input_backward = custom_op(
    "fer_attention::input_backward",
    launch.input_backward,
    mutates_args=(),
    device_types=_DEVICES,
    schema="(Tensor d, Tensor gate, Tensor? spatial, Tensor? pixel_mean, Tensor? pixel_max,"
    " Tensor? pixel_where, Tensor mean, Tensor? max, Tensor? where) -> Tensor",
)


def available() -> bool:
    """Return whether Triton is installed; on some platforms PyTorch comes without it."""
    return _FOUND


def pool(x: torch.Tensor, peak: bool) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Mean of each channel over its map and, if `peak`, its maximum and where that is first.

    Positions count row by row, h·W + w, whatever the memory format. A NaN is the maximum, wherever it stands.

    Traffic: one read.

    Returns:
        Mean and maximum (N, C), position (N, C) in int32; None for the latter two without `peak`.
    """
    _check(x)
    mean, maximum, where = _pool(x, peak=peak)
    return (mean, maximum, where) if peak else (mean, None, None)


def pool_pixels(x: torch.Tensor, gate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and maximum over the channels of x · gate, which is not rounded to the map's type before.

    Traffic: one read.

    Returns:
        Mean and maximum (N, H, W), and the first channel that has it, (N, H, W) in int32.
    """
    _check(x, per_channel=(gate,))
    mean, maximum, where = _pool_pixels(x, gate)
    return mean, maximum, where


def combine(
    x: torch.Tensor,
    gate: torch.Tensor,
    spatial: torch.Tensor | None,
    shortcut: torch.Tensor | None,
    act: str,
    alpha: float = 1.0,
) -> torch.Tensor:
    """act(x · gate · spatial + shortcut), rounded once.

    Traffic: one read, one more of the shortcut, one write.

    Args:
        x: The map (N, C, H, W).
        gate: Weights (N, C).
        spatial: Weights (N, H, W), or None for ones.
        shortcut: A map like x, or None.
        act: `"identity"`, `"relu"` or `"elu"`.
        alpha: ELU's: v where v > 0, else alpha (exp(v) - 1).
    """
    _check(x, per_channel=(gate,), per_position=(spatial,), maps=(shortcut,), act=act)
    return _combine(x, gate, spatial, shortcut, act, float(alpha))


def combine_backward(
    grad: torch.Tensor,
    y: torch.Tensor | None,
    x: torch.Tensor,
    gate: torch.Tensor,
    spatial: torch.Tensor | None,
    act: str,
    alpha: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
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


def pool_pixels_backward(
    x: torch.Tensor, grad_mean: torch.Tensor, grad_max: torch.Tensor, where: torch.Tensor
) -> torch.Tensor:
    """The gate's gradient (N, C) by way of `pool_pixels`, from those of its mean and maximum (N, H, W).

    Traffic: one read.
    """
    _check(x, per_position=(grad_mean, grad_max, where))
    return _pool_pixels_backward(x, grad_mean, grad_max, where)


def input_backward(
    d: torch.Tensor,
    gate: torch.Tensor,
    spatial: torch.Tensor | None,
    pixels: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None,
    channels: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None],
) -> torch.Tensor:
    """The map's gradient: gate · (d · spatial + by way of `pool_pixels`) + by way of `pool`.

    Traffic: one read, one write.

    Args:
        d: The first result of `combine_backward`, whose type and format the result has.
        gate: Weights (N, C).
        spatial: Weights (N, H, W), or None for ones.
        pixels: Gradients of `pool_pixels`'s mean and maximum, and its channels, (N, H, W); None without.
        channels: Gradients of `pool`'s mean and maximum, and its positions, (N, C); None for the latter two
            where there was no maximum.
    """
    _check(d, per_channel=(gate, *channels), per_position=(spatial, *(pixels or ())))
    return _input_backward(d, gate, spatial, *(pixels or (None, None, None)), *channels)


@_pool.register_fake
def _(x: torch.Tensor, *, peak: bool) -> tuple[torch.Tensor, ...]:
    shape = x.shape[:2] if peak else (0,)
    mean = x.new_empty(x.shape[:2], dtype=wide_type(x))
    return mean, mean.new_empty(shape), mean.new_empty(shape, dtype=torch.int32)


@_pool_pixels.register_fake
def _(x: torch.Tensor, gate: torch.Tensor) -> tuple[torch.Tensor, ...]:
    mean = x.new_empty((x.shape[0], *x.shape[2:]), dtype=wide_type(x))
    return mean, torch.empty_like(mean), torch.empty_like(mean, dtype=torch.int32)


@_combine.register_fake
def _(x: torch.Tensor, *others: object) -> torch.Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@_combine_backward.register_fake
def _(
    grad: torch.Tensor,
    y: torch.Tensor | None,
    x: torch.Tensor,
    gate: torch.Tensor,
    spatial: torch.Tensor | None,
    act: str,
    alpha: float,
) -> tuple[torch.Tensor, ...]:
    d = x.new_empty(0) if act == "identity" else torch.empty_like(x, memory_format=memory_format(x))
    grad_gate = gate.new_empty(gate.shape, dtype=wide_type(x))
    return d, grad_gate, grad_gate.new_empty(0 if spatial is None else spatial.shape)


@_pool_pixels_backward.register_fake
def _(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[:2], dtype=wide_type(x))


@_input_backward.register_fake
def _(d: torch.Tensor, *others: object) -> torch.Tensor:
    return torch.empty_like(d, memory_format=memory_format(d))


def _check(
    x: torch.Tensor,
    *,
    per_channel: tuple[torch.Tensor | None, ...] = (),
    per_position: tuple[torch.Tensor | None, ...] = (),
    maps: tuple[torch.Tensor | None, ...] = (),
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
