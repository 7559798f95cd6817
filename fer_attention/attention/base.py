"""The contract of every attention block, and its registry.

A block is a module of shape (N, C, H, W) -> (N, C, H, W), built as `Block(channels, *, options...,
device=None, dtype=None)`, that multiplies its input by weights in (0, 1). Channel gates give one weight
per sample and channel, (N, C, 1, 1); spatial gates one per sample and place, (N, 1, H, W).

A new block is one file with `@ATTENTIONS.register("name")` above its class and one import line in
`attention/__init__.py`: model names, the command line, the tables and the tests follow by themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from timm.layers import register_notrace_module
from torch import nn

from fer_attention.registry import Registry

ATTENTIONS: Registry[type[AttentionGate]] = Registry("attention")


class AttentionGate(nn.Module):
    """Base of all blocks: keeps the channel count and holds the input to it.

    Subclasses define `weights`; a block that is more than one product overrides `forward`.
    """

    is_attention_gate = True  # what `swap_activation(scope="backbone")` leaves alone

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_notrace_module(cls)  # torch.fx cannot trace the shape check; the gate is a leaf

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"{type(self).__name__} needs at least 1 channel, got channels={channels}.")
        self.channels = channels

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The factors in (0, 1) for a map (N, C, H, W), in a shape that broadcasts to it."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W), the input times its weights."""
        self._check(x)
        return x * self.weights(x)

    def _check(self, x: torch.Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(
                f"{type(self).__name__} was built for maps (N, {self.channels}, H, W); got {tuple(x.shape)}."
            )


def create_attention(name: str, channels: int, **options: Any) -> AttentionGate:
    """A block by name: `create_attention("eca", channels=64, kernel_size=5)`.

    Args:
        name: A registered block, such as `"se"`, `"eca"` or `"cbam"`.
        channels: C of the maps (N, C, H, W) that it will gate.
        options: The block's own keywords, and `device` and `dtype`.

    Raises:
        UnknownNameError: No block has this name.
        TypeError: The block does not know an option.
        ValueError: A number that the block cannot work with.
    """
    block = ATTENTIONS[name]
    check_attention_options(name, set(options) - {"device", "dtype"})
    return block(channels, **options)


def attention_options(name: str) -> tuple[str, ...]:
    """The keywords that a block accepts beside `device` and `dtype`; none for `"none"`."""
    if name == "none":
        return ()
    parameters = inspect.signature(ATTENTIONS[name]).parameters
    return tuple(p for p in parameters if p not in ("channels", "device", "dtype"))


def check_attention_options(name: str, options: Iterable[str]) -> None:
    """Refuse, by a TypeError that names the known ones, options that a block does not have."""
    known = attention_options(name)
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(
            f"Attention {name!r} has no option {', '.join(map(repr, unknown))}. "
            f"Its options: {', '.join(known) or 'none'}."
        )


def reduced_channels(channels: int, reduction: int) -> int:
    """Hidden width of a bottleneck MLP, channels // reduction; at least 1 or a ValueError."""
    if reduction < 1 or channels // reduction < 1:
        raise ValueError(
            f"reduction={reduction} leaves no hidden channel of channels={channels}; "
            f"choose a reduction from 1 to {channels}."
        )
    return channels // reduction


def odd_kernel(kernel_size: int) -> int:
    """The kernel size, if it is odd and positive; only such a kernel keeps its input's size."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive to keep the map's size, got {kernel_size}.")
    return kernel_size
