"""What is compared: one attention block, alone or in a network, made in several ways.

`plain` is ours in PyTorch's operators, `fused` ours as one step with a backward pass of its own, `auto` what
a model takes unless it is told, `compiled` is `torch.compile` of plain, `timm` timm's block (in timm's
network), and `naive` the same equations line by line (in our network).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from naive_attention import NAIVE, place_naive
from timm.layers import create_attn
from torch import nn

from fer_attention import ModelSpec, create_attention
from fer_attention.attention import ATTENTIONS, attention_options
from fer_attention.models.factory import from_spec

OURS = ("auto", "fused", "plain", "compiled")
WAYS = ("plain", "fused", "auto", "compiled", "timm", "naive")
TIMM = ("se", "eca", "cbam")
PAPER = ("se", "eca", "cbam")
PRODUCT = "product"


@dataclass(frozen=True)
class Candidate:
    """An attention block, or `none`, made in one way."""

    attention: str
    way: str

    def __post_init__(self) -> None:
        known = {*ATTENTIONS, "none", PRODUCT}
        if self.attention not in known or self.way not in WAYS:
            raise ValueError(
                f"No candidate {self.attention!r} {self.way!r}. Attention is one of "
                f"{', '.join(sorted(known))}; the way is one of {', '.join(WAYS)}."
            )

    @property
    def name(self) -> str:
        """As it is written in records: `cbam fused`."""
        return f"{self.attention} {self.way}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of our block for this way."""
        if self.attention not in ATTENTIONS or "implementation" not in attention_options(self.attention):
            return {}
        return {"implementation": "plain" if self.way == "compiled" else self.way}


class Product(nn.Module):
    """Lower bound for every gate: the product with one scale per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * self.weight


def listed(attentions: Iterable[str], ways: Iterable[str], network: str | None = None) -> list[Candidate]:
    """The candidates that exist of some attentions and ways; without a network the blocks alone.

    A network without attention comes as ours and as timm's, and compiled where that is asked for.
    """
    ways = tuple(ways)
    wanted = [Candidate(attention, way) for attention in attentions for way in ways]
    if network is not None:
        plain = ("plain", *(way for way in ("compiled", "timm") if way in ways))
        wanted = [*(Candidate("none", way) for way in plain), *(c for c in wanted if c.attention != "none")]
    return [candidate for candidate in wanted if exists(candidate, network)]


def exists(candidate: Candidate, network: str | None = None) -> bool:
    """Whether there is such a thing: timm and naive know three blocks, ours differ only where they can."""
    if candidate.way == "timm" and network is not None:
        with_attention = network.startswith("resnet") and not network.startswith("resnetv2")
        return network.startswith("resnet") if candidate.attention == "none" else with_attention
    if candidate.way == "timm":
        return candidate.attention in TIMM
    if candidate.way == "naive":
        return candidate.attention in NAIVE
    return candidate.way in ("plain", "compiled") or bool(candidate.options)


def build_block(candidate: Candidate, channels: int) -> nn.Module:
    """A block alone, for maps (N, channels, H, W)."""
    if candidate.attention == PRODUCT:
        return Product(channels)
    if candidate.way == "timm":
        block: nn.Module = create_attn(candidate.attention, channels)
        return block
    if candidate.way == "naive":
        return NAIVE[candidate.attention](channels)
    block = create_attention(candidate.attention, channels, **candidate.options)
    return compiled(block) if candidate.way == "compiled" else block


def build_network(
    candidate: Candidate, network: str, *, size: int, activation: str, like: nn.Module | None = None
) -> nn.Module:
    """A whole network, for grey images (N, 1, size, size) and seven classes.

    Args:
        candidate: Attention and way.
        network: A backbone's name.
        size: Height and width of the images, in pixels.
        activation: `"relu"` or `"elu"`, of the backbone.
        like: A network to share weights with.
    """
    model: nn.Module
    if candidate.way == "timm":
        model = timm_network(candidate.attention, network, activation=activation)
    else:
        attention = "none" if candidate.way == "naive" else candidate.attention
        options = candidate.options if attention != "none" else {}
        spec = ModelSpec(
            network, attention=attention, activation=activation, img_size=size, attention_options=options
        )
        model = own = from_spec(spec)
        if candidate.way == "naive":
            place_naive(own, candidate.attention)
    if like is not None:
        share_weights(model, like)
    return compiled(model) if candidate.way == "compiled" else model


def timm_network(attention: str, network: str, *, activation: str) -> nn.Module:
    """The network of timm itself, with its own attention block where it has a place for one."""
    options: dict[str, Any] = {"in_chans": 1, "num_classes": 7}
    if attention != "none":
        options["block_args"] = {"attn_layer": attention}
    layer = {"relu": nn.ReLU, "elu": nn.ELU}[activation]
    model: nn.Module = timm.create_model(network, act_layer=layer, **options)
    return model


def compiled(module: nn.Module) -> nn.Module:
    """`torch.compile` of a module, for one input shape."""
    return torch.compile(module, dynamic=False)  # type: ignore[return-value]


def share_weights(model: nn.Module, source: nn.Module) -> None:
    """Let a model use another's tensors where name and shape agree, so that many fit into memory."""
    own = model.state_dict()
    shared = {k: v for k, v in source.state_dict().items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(shared, strict=False, assign=True)
