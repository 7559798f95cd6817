"""The contract of every attention block, and its registry.

A block is a module of shape (N, C, H, W) -> (N, C, H, W), built as `Block(channels, *, options...,
device=None, dtype=None)`. It keeps its input's type, device and memory format, takes an empty batch and
maps down to 1×1, and trains on a single sample.

Most blocks are gates: they multiply their input by `scale(x)`, which lies between the class's `bounds`,
(0, 1) unless it says otherwise. Channel gates give one scale per sample and channel, (N, C, 1, 1); spatial
gates one per sample and position, (N, 1, H, W). A block that does something else is an `AttentionBlock` only.
What a block lays over its input can be looked at: `maps(x)` names it by part, and `watch_inputs` shows every
block's input while a model runs.

A new block is one file with `@ATTENTIONS.register("name")` above its class and one import line in
`attention/__init__.py`: model names, the command line, the tables and the tests follow by themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, TypeAlias

import torch
from timm.layers import register_notrace_module
from torch import Tensor, nn
from torch.nn import functional as F

from fer_attention.plugins import open_registry
from fer_attention.registry import Registry

ATTENTIONS: Registry[type[AttentionBlock]] = open_registry("attention")

Watcher: TypeAlias = "Callable[[AttentionBlock, Tensor], None]"

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_inputs(watcher: Watcher) -> Iterator[None]:
    """Show each block and the map that enters it to a function, on the plain and the fused way alike.

    No hook is set, so every block computes as it would without. Blocks inside blocks are shown, too, but only
    where they are called. The model is in evaluation mode: the fused way has to repeat the norm for the
    watcher, which in training mode would count the batch twice.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class AttentionBlock(nn.Module):
    """Base of all blocks: keeps the shape and holds the input to its channel count.

    Attributes:
        summary: The block in a few words, for tables.
    """

    summary: ClassVar[str] = ""
    is_attention_gate = True  # what `swap_activation(scope="backbone")` leaves alone

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_notrace_module(cls)  # torch.fx cannot trace the shape check; the block is a leaf

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"{type(self).__name__} needs at least 1 channel, got channels={channels}.")
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        raise NotImplementedError

    def residual(
        self, x: Tensor, shortcut: Tensor, *, norm: nn.Module | None = None, act: nn.Module | None = None
    ) -> Tensor:
        """The end of a residual branch, act(self(norm(x)) + shortcut); blocks may know a faster way to it.

        x is the branch's last map, (N, C, H, W), and the shortcut of the same shape.
        """
        gated: Tensor = self(x if norm is None else norm(x))
        y = gated + shortcut
        return y if act is None else act(y)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Attention maps of the block for an input (N, C, H, W), by part; empty if it has none.

        Returns:
            Tensors of four dimensions that broadcast to the map: "channel" (N, C, 1, 1), "spatial"
            (N, 1, H, W) and "full" (N, C, H, W) are factors, "context" (N, 1, H, W) shares that sum to 1.
        """
        return {}

    def _enter(self, x: Tensor, norm: nn.Module | None = None) -> None:
        """Check the input's channels and show it to the watcher; every forward pass calls this first.

        With a norm that the fused step has taken in, x is what the norm will make the input of.
        """
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(
                f"{type(self).__name__} was built for maps (N, {self.channels}, H, W); got {tuple(x.shape)}."
            )
        # torch 2.8 cannot compile the reading of a context variable; what is compiled, nobody watches
        watcher = None if torch.compiler.is_compiling() else _watcher.get()
        if watcher is not None:
            watcher(self, x if norm is None else norm(x))


class AttentionGate(AttentionBlock):
    """Base of the blocks that multiply their input by a scale.

    Subclasses define `scale`; one that knows a faster way to the same product overrides `forward`.

    Attributes:
        bounds: Limits of the scale, ends excluded (float rounding may reach them).
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def scale(self, x: Tensor) -> Tensor:
        """The factors for a map (N, C, H, W), in a shape of four dimensions that broadcasts to it."""
        raise NotImplementedError

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """The scale, as the part that its shape tells."""
        scale = self.scale(x)
        if scale.shape[1] == 1 < x.shape[1]:
            return {"spatial": scale}
        return {"channel" if scale.shape[2:] == (1, 1) else "full": scale}

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), the input times its scale."""
        self._enter(x)
        return x * self.scale(x)


def create_attention(name: str, channels: int, **options: Any) -> AttentionBlock:
    """A block by name: `create_attention("eca", channels=64, kernel_size=5)`.

    Args:
        name: A registered block, such as `"se"`, `"eca"` or `"cbam"`.
        channels: C of the maps (N, C, H, W) that it will see.
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


def reduced_channels(channels: int, reduction: int, *, least: int = 0) -> int:
    """Hidden width of a bottleneck: channels // reduction, or `least` if more; below 1 a ValueError."""
    if reduction < 1 or max(least, channels // reduction) < 1:
        raise ValueError(
            f"reduction={reduction} leaves no hidden channel of channels={channels}; "
            f"choose a reduction from 1 to {channels}."
        )
    return max(least, channels // reduction)


def odd_kernel(kernel_size: int, *, option: str = "kernel_size") -> int:
    """The kernel size, if it is odd and positive; only such a kernel keeps its input's size."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"{option} must be odd and positive to keep the map's size, got {kernel_size}.")
    return kernel_size


def energy(x: Tensor, *, keepdim: bool = False) -> Tensor:
    """The sum of squares over the positions of each channel, float32 at least: float16 ends at 65504.

    Half precision is squared inside of torch's norm, which reads the map once and writes no wider copy of
    it; plain squares are faster where they are exact enough, many times so on channels-last maps on a CPU.

    Shape: (N, C, H, W) -> (N, C), or (N, C, 1, 1) with `keepdim`.
    """
    if x.dtype in (torch.float16, torch.bfloat16):
        return torch.linalg.vector_norm(x, dim=(2, 3), keepdim=keepdim, dtype=torch.float32).square()
    return x.square().sum((2, 3), keepdim=keepdim)


class GateBatchNorm(nn.BatchNorm2d):
    """Batch norm for a gate's small maps, which may hold a single value per channel.

    One value has no variance. Where a training batch is one sample and one position, the running statistics
    stand in, as in evaluation, and stay as they are; torch's own layer refuses such a batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if self.training and x.numel() == self.num_features:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
