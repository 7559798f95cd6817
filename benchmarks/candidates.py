"""Candidates to compare: variants of one attention block, alone or in a network.

`plain` is our block in PyTorch's operators, `fused` our block as one step with its own backward pass, `auto`
the variant that a model uses by default, `compiled` is `torch.compile` of plain, `timm` timm's block
(in timm's network), and `naive` the equations line by line (in our network).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from naive_attention import NAIVE, insert_naive
from timm.layers import create_attn
from torch import nn

from fer_attention import ModelSpec, create_attention
from fer_attention.attention import ATTENTIONS, attention_options
from fer_attention.models.factory import from_spec

OURS = ("auto", "fused", "plain", "compiled")
VARIANTS = ("plain", "fused", "auto", "compiled", "timm", "naive")
TIMM = ("se", "eca", "cbam")
PAPER = ("se", "eca", "cbam")
PRODUCT = "product"


@dataclass(frozen=True)
class Candidate:
    """One variant of an attention block, or of the network without one (`none`)."""

    attention: str
    variant: str

    def __post_init__(self) -> None:
        known = {*ATTENTIONS, "none", PRODUCT}
        if self.attention not in known or self.variant not in VARIANTS:
            raise ValueError(
                f"No candidate {self.attention!r} {self.variant!r}. Attention is one of "
                f"{', '.join(sorted(known))}; the variant is one of {', '.join(VARIANTS)}."
            )

    @property
    def name(self) -> str:
        """Name of the candidate in records: `cbam fused`."""
        return f"{self.attention} {self.variant}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of our block that select this variant."""
        if self.attention not in ATTENTIONS or "implementation" not in attention_options(self.attention):
            return {}
        return {"implementation": "plain" if self.variant == "compiled" else self.variant}


class Product(nn.Module):
    """Lower bound for every gate: the product with one scale per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * self.weight


def candidates_for(
    attentions: Iterable[str], variants: Iterable[str], network: str | None = None
) -> list[Candidate]:
    """List the candidates that exist for some attentions and variants, in a network or alone.

    Our network without attention is always included, timm's and the compiled one if requested.
    """
    variants = tuple(variants)
    wanted = [Candidate(attention, variant) for attention in attentions for variant in variants]
    if network is not None:
        plain = ("plain", *(variant for variant in ("compiled", "timm") if variant in variants))
        wanted = [
            *(Candidate("none", variant) for variant in plain),
            *(c for c in wanted if c.attention != "none"),
        ]
    return [candidate for candidate in wanted if exists(candidate, network)]


def exists(candidate: Candidate, network: str | None = None) -> bool:
    """Return whether a candidate exists: timm and naive have three blocks, ours only their own options."""
    if candidate.variant == "timm" and network is not None:
        with_attention = network.startswith("resnet") and not network.startswith("resnetv2")
        return network.startswith("resnet") if candidate.attention == "none" else with_attention
    if candidate.variant == "timm":
        return candidate.attention in TIMM
    if candidate.variant == "naive":
        return candidate.attention in NAIVE
    return candidate.variant in ("plain", "compiled") or bool(candidate.options)


def build_block(candidate: Candidate, channels: int) -> nn.Module:
    """Build a block for maps (N, channels, H, W)."""
    if candidate.attention == PRODUCT:
        return Product(channels)
    if candidate.variant == "timm":
        block: nn.Module = create_attn(candidate.attention, channels)
        return block
    if candidate.variant == "naive":
        return NAIVE[candidate.attention](channels)
    block = create_attention(candidate.attention, channels, **candidate.options)
    return compiled(block) if candidate.variant == "compiled" else block


def build_network(
    candidate: Candidate, network: str, *, size: int, activation: str, like: nn.Module | None = None
) -> nn.Module:
    """Build a network for grey images (N, 1, size, size) and seven classes.

    Args:
        candidate: Attention and variant.
        network: A backbone's name.
        size: Height and width of the images, in pixels.
        activation: Activation of the backbone, `"relu"` or `"elu"`.
        like: A network to share weights with.
    """
    model: nn.Module
    if candidate.variant == "timm":
        model = timm_network(candidate.attention, network, activation=activation)
    else:
        attention = "none" if candidate.variant == "naive" else candidate.attention
        options = candidate.options if attention != "none" else {}
        spec = ModelSpec(
            network, attention=attention, activation=activation, img_size=size, attention_options=options
        )
        model = own = from_spec(spec)
        if candidate.variant == "naive":
            insert_naive(own, candidate.attention)
    if like is not None:
        share_weights(model, like)
    return compiled(model) if candidate.variant == "compiled" else model


def timm_network(attention: str, network: str, *, activation: str) -> nn.Module:
    """Build timm's own network, with its attention block unless `attention` is "none"."""
    options: dict[str, Any] = {"in_chans": 1, "num_classes": 7}
    if attention != "none":
        options["block_args"] = {"attn_layer": attention}
    layer = {"relu": nn.ReLU, "elu": nn.ELU}[activation]
    model: nn.Module = timm.create_model(network, act_layer=layer, **options)
    return model


def compiled(module: nn.Module) -> nn.Module:
    """Compile a module for one input shape."""
    return torch.compile(module, dynamic=False)  # type: ignore[return-value]


def share_weights(model: nn.Module, source: nn.Module) -> None:
    """Make a model use another's tensors where name and shape agree, to save memory."""
    own = model.state_dict()
    shared = {k: v for k, v in source.state_dict().items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(shared, strict=False, assign=True)
