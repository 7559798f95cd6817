"""Activations and attention gates in a module tree, and the references to each."""

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
    timm_layers.SplitAttn,  # its convolution and its gate are one module: it keeps both activations
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
"""The attention gates of timm and torchvision; ours carry `is_attention_gate = True`."""

TWINS: dict[str, type[nn.Module]] = {
    "gelu": timm_activations.GELU,
    "hard_sigmoid": timm_activations.HardSigmoid,
    "hard_swish": timm_activations.HardSwish,
    "mish": timm_activations.Mish,
    "prelu": timm_activations.PReLU,
    "sigmoid": timm_activations.Sigmoid,
    "silu": timm_activations.Swish,
    "tanh": timm_activations.Tanh,
}
"""timm's own classes for functions that torch.nn has too: models hold either, and one name means both."""


class Reference(NamedTuple):
    """One place in a module tree: `parent` holds `module` as its child `name`, at the dotted `path`."""

    path: str
    parent: nn.Module
    name: str
    module: nn.Module


def is_gate(module: nn.Module) -> bool:
    """Return whether a module is an attention gate: one of ours, of timm's or of torchvision's."""
    return isinstance(module, GATES) or getattr(module, "is_attention_gate", False) is True


def references(model: nn.Module, scope: Scope) -> Iterator[Reference]:
    """Every place of the tree, parents first; with scope `"backbone"` none inside a gate.

    A module that hangs at several places is visited once, but each of its places is given.
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
    """The classes that a registered activation name stands for.

    Raises:
        UnknownNameError: No activation has this name.
    """
    return frozenset(c for c in (ACTIVATIONS[name], TWINS.get(name)) if isinstance(c, type))


def activation_classes() -> frozenset[type[nn.Module]]:
    """The classes of all registered activations but the identity, which stands in for anything left out."""
    return frozenset().union(*(classes_of(name) for name in ACTIVATIONS)) - {nn.Identity}
