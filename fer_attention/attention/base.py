"""The contract of every attention block, and the registry of blocks.

A block is a module of shape (N, C, H, W) -> (N, C, H, W), built as `Block(channels, *, options...,
device=None, dtype=None)`. It preserves the type, device and memory format of its input, accepts an empty
batch and maps down to 1×1, and trains on a single sample.

Most blocks are gates: they multiply their input by `scale(x)`, which lies within the class's `bounds`,
(0, 1) by default. Channel gates compute one scale per sample and channel, (N, C, 1, 1); spatial gates one
per sample and position, (N, 1, H, W). A block that does anything else is an `AttentionBlock` only.
`maps(x)` returns the attention maps of a block by part, and `watch_inputs` shows the input of every block
while a model runs.

A new block is one file with `@ATTENTIONS.register("name")` above its class and one import line in
`attention/__init__.py`. Model names, the command line, the tables and the tests then include it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from timm.layers import register_notrace_module
from torch import Tensor, nn

from fer_attention.attention.contract import NUMBERS, check_constructor
from fer_attention.attention.watching import current_watcher
from fer_attention.bounded import bounded
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry, check_choice

ATTENTIONS: Registry[type[AttentionBlock]] = open_registry(
    "attention", check=lambda b: check_constructor(b, AttentionBlock)
)

CONTROLS: Registry[type[AttentionBlock]] = Registry(
    "control block", check=lambda b: check_constructor(b, AttentionBlock)
)
"""Blocks to compare attention with. They can be built by name, but no list of blocks or models shows them."""

Start: TypeAlias = Literal["published", "open"]
"""Start of a gate: with the published equations and weights, or at exactly 1."""


class AttentionBlock(nn.Module):
    """Base class of all blocks, which preserves the shape and checks the number of input channels.

    Attributes:
        title: Name of the block in texts, such as `"SE"`; by default the registered name.
        summary: Short description of the block, for tables.

    >>> class Negative(AttentionBlock):
    ...     def forward(self, x):
    ...         self._enter(x)
    ...         return -x
    >>> Negative(8)(torch.ones(1, 8, 1, 1)).sum().item()
    -8.0
    """

    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    is_attention_gate = True  # `swap_activation(scope="backbone")` skips it

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_notrace_module(cls)  # a leaf for timm's tracers, as `__call__` makes it for all others

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"{type(self).__name__} needs at least 1 channel, got channels={channels}.")
        self.channels = channels

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block; for tracers of torch.fx it is a leaf, since they cannot follow its checks."""
        if args and isinstance(args[0], torch.fx.Proxy):
            tracer: Any = args[0].tracer
            return tracer.create_proxy("call_module", tracer.path_of_module(self), args, kwargs)
        return super().__call__(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to a map, (N, C, H, W) -> (N, C, H, W)."""
        raise NotImplementedError

    def residual(
        self, x: Tensor, shortcut: Tensor, *, norm: nn.Module | None = None, act: nn.Module | None = None
    ) -> Tensor:
        """Finish a residual branch: act(self(norm(x)) + shortcut). Blocks may override it with faster code.

        Args:
            x: Last map of the branch, (N, C, H, W).
            shortcut: The map to add, of the same shape.
            norm: Module before the block.
            act: Module after the sum.
        """
        gated: Tensor = self(x if norm is None else norm(x))
        y = gated + shortcut
        return y if act is None else act(y)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Compute the attention maps of the block for an input (N, C, H, W), by part.

        Returns:
            Tensors of four dimensions that broadcast to the input: "channel" (N, C, 1, 1), "spatial"
            (N, 1, H, W) and "full" (N, C, H, W) are factors, "context" (N, 1, H, W) are shares that sum
            to 1. Empty if the block has no such map.
        """
        return {}

    def _enter(self, x: Tensor, norm: nn.Module | None = None) -> None:
        """Check the input's channels and report it to the watcher; every forward pass starts with it.

        Where the fused step includes a norm, x is the input of that norm.
        """
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ValueError(
                f"{type(self).__name__} was built for maps (N, {self.channels}, H, W); got {tuple(x.shape)}."
            )
        # torch 2.8 cannot compile access to a context variable, and compiled code has no watcher
        watcher = None if torch.compiler.is_compiling() else current_watcher()
        if watcher is not None:
            watcher(self, x if norm is None else norm(x))


class AttentionGate(AttentionBlock):
    """Base class of the blocks that multiply their input by a scale.

    Subclasses define `scale`. A subclass with a faster implementation of the product overrides `forward`.

    Attributes:
        bounds: Limits of the scale, ends excluded (rounding may reach them).

    >>> class Half(AttentionGate):
    ...     def scale(self, x):
    ...         return torch.full((len(x), self.channels, 1, 1), 0.5)
    >>> Half(8)(torch.ones(1, 8, 1, 1)).sum().item()
    4.0
    """

    bounds: tuple[float, float] = (0.0, 1.0)

    def scale(self, x: Tensor) -> Tensor:
        """Compute the factors for a map (N, C, H, W): four dimensions that broadcast to its shape."""
        raise NotImplementedError

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the scale, named after its shape."""
        scale = self.scale(x)
        if scale.shape[1] == 1 < x.shape[1]:
            return {"spatial": scale}
        return {"channel" if scale.shape[2:] == (1, 1) else "full": scale}

    def forward(self, x: Tensor) -> Tensor:
        """Multiply a map (N, C, H, W) by its scale."""
        self._enter(x)
        return x * self.scale(x)


class SigmoidGate(AttentionGate):
    """Base class of the gates whose scale is a sigmoid, s = sigmoid(z), which may also start open.

    A published gate starts near 1/2. In a residual branch without a norm behind it, such a gate halves the
    branch and its gradient. With `start="open"` the scale is s = 2 · sigmoid(z), within (0, 2), and the last
    layer before z starts at zero. A new gate then is exactly 1, whatever its input, and the layers before the
    last get their first gradient in the second step. Names and shapes of the parameters are the same.

    SE, ECA, CBAM, ECBAM, coordinate attention, SGE and triplet attention have this option. Of the others, GC
    and GCT start as the identity anyway, BAM scales by more than 1, and SimAM has no parameters.

    Attributes:
        start: `"published"` or `"open"`.
        ceiling: Upper bound of the scale, 1 or 2.

    >>> gate = create_attention("se", channels=64, start="open")
    >>> gate.bounds, gate.scale(torch.rand(2, 64, 8, 8)).unique().tolist()
    ((0.0, 2.0), [1.0])
    """

    def __init__(self, channels: int, *, start: Start = "published") -> None:
        super().__init__(channels)
        check_choice("start", start, get_args(Start))
        self.start = start
        self.ceiling = 2.0 if start == "open" else 1.0
        self.bounds = (0.0, self.ceiling)

    def extra_repr(self) -> str:
        """Return the text that `repr` shows before the layers."""
        return "" if self.start == "published" else f"start={self.start!r}"

    def start_layers(self, *last: nn.Module) -> None:
        """Set weights and biases of the last layers to zero if the gate starts open."""
        if self.start == "open":
            for layer in last:
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)

    def squash(self, logits: Tensor, *, inplace: bool = False) -> Tensor:
        """Compute the scale from the output of the last layer, which `inplace` overwrites."""
        scale = logits.sigmoid_() if inplace else logits.sigmoid()
        return scale if self.ceiling == 1 else self.ceiling * scale


def block_class(name: str) -> type[AttentionBlock]:
    """Return the class of a block or control block.

    Raises:
        UnknownNameError: There is no such block; the nearest name is suggested.
    """
    return CONTROLS[name] if name in CONTROLS and name not in ATTENTIONS else ATTENTIONS[name]


def create_attention(name: str, channels: int, **options: Any) -> AttentionBlock:
    """Build an attention block by name.

    Args:
        name: A registered block, such as `"se"`, `"eca"` or `"cbam"`.
        channels: C of the input maps (N, C, H, W).
        options: The block's own keywords, and `device` and `dtype`.

    Raises:
        UnknownNameError: No block has this name.
        TypeError: The block has no such option.
        ValueError: The block cannot be built with a given number.

    >>> create_attention("eca", channels=64, kernel_size=5).conv
    Conv1d(1, 1, kernel_size=(5,), stride=(1,), padding=(2,), bias=False)
    """
    block = block_class(name)
    own = {option: value for option, value in options.items() if option not in ("device", "dtype")}
    check_attention_options(name, own)
    return block(channels, **options)


def attention_options(name: str) -> tuple[str, ...]:
    """Return the keywords that a block accepts besides `device` and `dtype`; `"none"` accepts none.

    >>> attention_options("cbam")
    ('reduction', 'hidden_floor', 'kernel_size', 'start', 'implementation')
    """
    if name == "none":
        return ()
    parameters = inspect.signature(block_class(name)).parameters
    return tuple(p for p in parameters if p not in ("channels", "device", "dtype"))


def check_attention_options(name: str, options: Mapping[str, Any]) -> None:
    """Check that a block has all these options, and that numbers are numbers.

    Raises:
        TypeError: An option is unknown; the message lists the block's options.
        ValueError: The value of a number is something else.

    >>> check_attention_options("gct", {"reduction": 8})
    Traceback (most recent call last):
    TypeError: Attention 'gct' has no option 'reduction'. Its options: none.
    """
    known = attention_options(name)
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(
            f"Attention {name!r} has no option {', '.join(map(repr, unknown))}. "
            f"Its options: {', '.join(known) or 'none'}."
        )
    for option, value in options.items():
        annotation = inspect.signature(block_class(name)).parameters[option].annotation
        kinds, called = NUMBERS.get(inspect.formatannotation(annotation).strip("'"), ((object,), ""))
        if not isinstance(value, kinds):
            raise ValueError(f"{option} of attention {name!r} is {called}; got {bounded(value)}.")
