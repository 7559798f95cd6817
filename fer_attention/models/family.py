"""The traits that a family of backbones declares, and the registry of backbones.

Names, specs, counts and timm's records read the traits, never a name. So a new family is one file and one
import line.
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
"""The default stem, which every family has."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Properties of a family; `ModelSpec` refuses options that a family lacks.

    >>> Traits(total_stride={"imagenet": 32}, feature_levels=5).heads
    ('gap',)

    Attributes:
        total_stride: Input size over the size of the last map, for each stem that the family has.
        feature_levels: Length of `levels()` and of `feature_info`.
        heads: Available heads, the default first; `"gap"` is global pooling and one linear layer.
        residual_blocks: True if there are residual blocks, which `drop_path_rate` needs.
        unpooled_logits: True if the classifier takes maps: `global_pool=""` gives logits at each position.
        stride_on: Convolutions of a block that can carry its stride, the default first.
        paper_biases: Pattern for `re.search` of the layers that have a bias in the counts of Miskow and
            Altahhan 2022 (arXiv:2410.17740); None if the paper lacks the family.

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
                f"A family needs the default stem={DEFAULT_STEM!r}; total_stride has only "
                f"{', '.join(map(repr, self.total_stride)) or 'no stem'}."
            )
        if not self.heads or not self.stride_on:
            raise ValueError(f"A family needs a head and a stride: heads={self.heads}, {self.stride_on=}.")


@dataclass(frozen=True)
class Backbone:
    """One member of a family; call it with a spec to build the model.

    Attributes:
        family: Class of the models.
        options: Keyword arguments of the class for this member, such as the depths.
        traits: Properties of this member.
    """

    family: type[FERModel]
    options: Mapping[str, Any]
    traits: Traits

    def __call__(
        self, spec: ModelSpec, *, device: Device = None, dtype: torch.dtype | None = None
    ) -> FERModel:
        """Build a fresh model with parameters on the given device and of the given type."""
        build: Callable[..., FERModel] = self.family
        return build(spec, **self.options, device=device, dtype=dtype)


BACKBONES: Registry[Backbone] = open_registry("backbone")
"""Backbones by name, registered with `FERModel.register` beside their family."""
