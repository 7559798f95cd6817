"""What a family of backbones declares of itself, and the registry of backbones.

Names, specs, counts and timm's records ask these declarations, never a name, so that a new family is one file
and one import line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fer_attention.plugins import open_registry
from fer_attention.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch.types import Device

    from fer_attention.models.base import FERModel
    from fer_attention.models.spec import ModelSpec

DEFAULT_STEM = "imagenet"
"""The stem of a name alone, which every family takes."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a family has; `ModelSpec` refuses what it lacks.

    Attributes:
        total_stride: Input size over last map, by stem. The keys are the stems that the family takes.
        feature_levels: Length of `levels()` and of `feature_info`.
        heads: Heads to choose from, the default first. A single one is global pooling and one layer.
        residual_blocks: Whether there are any, for `drop_path_rate`.
        unpooled_logits: Whether the classifier takes maps: `global_pool=""` gives logits at each position.
        stride_on: Convolutions of a block that may carry its stride, the default first.
        paper_biases: Pattern of the layers that count with a bias in Miskow and Altahhan 2022
            (arXiv:2410.17740), for `re.search`; None for a family that the paper does not have.

    Raises:
        ValueError: The default stem, a head or a stride is missing.
    """

    total_stride: Mapping[str, int]
    feature_levels: int
    heads: tuple[str, ...] = ("gap",)
    residual_blocks: bool = False
    unpooled_logits: bool = False
    stride_on: tuple[str, ...] = ("3x3",)
    paper_biases: str | None = None

    def __post_init__(self) -> None:
        if DEFAULT_STEM not in self.total_stride:
            raise ValueError(
                f"A family takes stem={DEFAULT_STEM!r}, the stem of its names; total_stride has only "
                f"{', '.join(map(repr, self.total_stride)) or 'no stem'}."
            )
        if not self.heads or not self.stride_on:
            raise ValueError(f"A family has a head and a stride: heads={self.heads}, {self.stride_on=}.")


@dataclass(frozen=True)
class Backbone:
    """One member of a family: called with a spec, it builds the model."""

    family: type[FERModel]  # the class of the models
    options: Mapping[str, Any]  # keywords of the class that make it this member, such as the depths
    traits: Traits  # the family's, with what is special to this member

    def __call__(
        self, spec: ModelSpec, *, device: Device = None, dtype: torch.dtype | None = None
    ) -> FERModel:
        """A fresh model of a spec, its parameters on a device and of a type."""
        build: Callable[..., FERModel] = self.family
        return build(spec, **self.options, device=device, dtype=dtype)


BACKBONES: Registry[Backbone] = open_registry("backbone")
"""Backbones by name; `FERModel.register` enters them, beside the definition of their family."""
