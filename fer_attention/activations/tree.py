"""Find activations and attention gates in a module tree, and all references to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from timm import layers as timm_layers
from timm.layers import activations as timm_activations
from timm.layers.cbam import CbamModule, ChannelAttn, LightCbamModule, LightSpatialAttn, SpatialAttn
from timm.layers.coord_attn import CoordAttn, EfficientLocalAttn, SimpleCoordAttn, StripAttn
from timm.layers.selective_kernel import SelectiveKernelAttn
from timm.layers.squeeze_excite import SqueezeExciteCl
from timm.models.efficientnet import SqueezeExcite as EfficientNetSqueezeExcite
from timm.models.senet import SEModule as LegacySEModule
from torch import nn
from torchvision.ops import SqueezeExcitation

from fer_attention.activations.registry import ACTIVATIONS

Scope: TypeAlias = Literal["backbone", "all"]

GATES: tuple[type[nn.Module], ...] = (
    timm_layers.SEModule,
    timm_layers.EffectiveSEModule,
    timm_layers.EcaModule,
    CbamModule,
    LightCbamModule,
    timm_layers.GatherExcite,
    timm_layers.GlobalContext,
    timm_layers.NonLocalAttn,
    timm_layers.BatNonLocalAttn,
    timm_layers.SplitAttn,  # convolution and gate are one module, so both activations stay
    ChannelAttn,
    SpatialAttn,
    LightSpatialAttn,
    SelectiveKernelAttn,
    SqueezeExciteCl,
    EfficientNetSqueezeExcite,
    LegacySEModule,
    SqueezeExcitation,
    CoordAttn,
    SimpleCoordAttn,
    EfficientLocalAttn,
    StripAttn,
)
"""Attention gates of timm and torchvision; ours have `is_attention_gate = True`."""

TWINS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": timm_activations.GELU,
    "hard_sigmoid": timm_activations.HardSigmoid,
    "hard_swish": timm_activations.HardSwish,
    "mish": timm_activations.Mish,
    "prelu": timm_activations.PReLU,
    "sigmoid": timm_activations.Sigmoid,
    "silu": timm_activations.Swish,
    "tanh": timm_activations.Tanh,
}
"""Second classes of a function, timm's or torch's: models use either, and a name means both."""


class Reference(NamedTuple):
    """One position in a module tree: `module` is the child `name` of `parent`, at the dotted `path`."""

    path: str
    parent: nn.Module
    name: str
    module: nn.Module


def is_gate(module: nn.Module) -> bool:
    """Return whether a module is an attention gate: one of ours, of timm's or of torchvision's."""
    return isinstance(module, GATES) or getattr(module, "is_attention_gate", False) is True


def references(model: nn.Module, scope: Scope) -> Iterator[Reference]:
    """Iterate over every position in a tree, parents first; with scope `"backbone"` not inside gates.

    A module used at several positions is visited once, but each of its positions is returned.
    """
    visited: set[nn.Module] = set()

    def visit(prefix: str, parent: nn.Module) -> Iterator[Reference]:
        if parent in visited or (scope == "backbone" and is_gate(parent)):
            return
        visited.add(parent)
        for name, child in parent._modules.items():  # named_children gives a child's first name only
            if child is not None:
                yield Reference(f"{prefix}{name}", parent, name, child)
                yield from visit(f"{prefix}{name}.", child)

    return visit("", model)


def classes_of(name: str) -> frozenset[type[nn.Module]]:
    """Return the classes that a registered activation name stands for.

    Raises:
        UnknownNameError: No activation has this name.
    """
    return frozenset(c for c in (ACTIVATIONS[name], TWINS.get(name)) if isinstance(c, type))


def activation_classes() -> frozenset[type[nn.Module]]:
    """Return the classes of all registered activations except the identity, a placeholder for any layer."""
    return frozenset().union(*(classes_of(name) for name in ACTIVATIONS)) - {nn.Identity}
