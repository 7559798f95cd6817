"""VGG (Simonyan and Zisserman 2014, arXiv:1409.1556) with one attention slot after the last stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import ClassifierHead, make_divisible
from timm.models import checkpoint_seq
from torch import nn
from torch.nn import functional as F

from fer_attention.models.base import Factory, FERModel, Step, activation_of, gate_of, initialise
from fer_attention.models.family import Traits
from fer_attention.models.spec import ModelSpec

CHANNELS = (64, 128, 256, 512, 512)

DEPTHS: dict[str, tuple[int, int, int, int, int]] = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""3×3 convolutions in each of the five stages."""


@torch.fx.wrap  # torch.fx cannot trace a choice by size
def _at_least(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Pool a map up to a size where it is smaller, as timm does."""
    height, width = x.shape[-2:]
    if height >= size[0] and width >= size[1]:
        return x
    return F.adaptive_avg_pool2d(x, (max(height, size[0]), max(width, size[1])))


class FullyConnected(nn.Module):
    """VGG's two hidden layers, as convolutions: (N, C, h, w) -> (N, hidden, 1, 1) at its own size.

    As in timm, a smaller map is pooled up to that size; a larger one gives more positions, pooled afterwards.
    """

    def __init__(
        self, spec: ModelSpec, in_chs: int, hidden: int, *, size: tuple[int, int], factory: Factory
    ) -> None:
        super().__init__()
        act = activation_of(spec, factory)
        self.size = size
        self.fc1 = nn.Conv2d(in_chs, hidden, size, **factory)
        self.act1 = act()
        self.drop = nn.Dropout(spec.drop_rate)
        self.fc2 = nn.Conv2d(hidden, hidden, 1, **factory)
        self.act2 = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute (N, hidden, 1, 1) from (N, C, h, w)."""
        return self.act2(self.fc2(self.drop(self.act1(self.fc1(_at_least(x, self.size))))))


class VGG(FERModel):
    """Five stages of 3×3 convolutions, each followed by a 2×2 max pool that rounds up.

    The attention block refines the last map and is added to it, x + attention(x) (Miskow and Altahhan 2022).
    The head is VGG's two hidden layers of 4096 (`head="fc"`) or global pooling alone (`head="gap"`).

    Args:
        spec: The structure.
        depths: Convolutions per stage.
        batch_norm: Add a batch norm after each convolution.
        factory: `device` and `dtype` of the parameters.
    """

    traits = Traits(total_stride={"imagenet": 32}, feature_levels=6, heads=("fc", "gap"), paper_biases=".*")
    first_conv = "features.0"
    classifier = "head.fc"
    hidden_layers = "pre_logits"

    def __init__(
        self, spec: ModelSpec, *, depths: tuple[int, int, int, int, int], batch_norm: bool, **factory: Any
    ) -> None:
        super().__init__(spec)
        act = activation_of(spec, factory)
        chs = spec.in_chans
        layers: list[nn.Module] = []
        self.ends: list[int] = []  # one past the last layer of each feature level
        for stage, (depth, base) in enumerate(zip(depths, CHANNELS, strict=True)):
            for _ in range(depth):
                out_chs = make_divisible(base * spec.width)
                layers.append(nn.Conv2d(chs, out_chs, 3, padding=1, **factory))
                layers += [nn.BatchNorm2d(out_chs, **factory)] if batch_norm else []
                layers.append(act())
                chs = out_chs
            self._end_level(layers, chs, 2**stage)
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
        self._end_level(layers, chs, 32)
        self.features = nn.Sequential(*layers)
        self.attn = gate_of(spec, chs, factory)

        self.num_features = chs
        hidden = make_divisible(4096 * spec.width)
        _, height, width = spec.input_size
        size = (-(-height // 32), -(-width // 32))
        self.pre_logits: nn.Module = nn.Identity()
        if spec.head == "fc":
            self.pre_logits = FullyConnected(spec, chs, hidden, size=size, factory=factory)
        self.head = ClassifierHead(
            chs if spec.head == "gap" else hidden,
            spec.num_classes,
            spec.global_pool,
            drop_rate=spec.drop_rate,
            **factory,
        )
        self.head_hidden_size = self.head.in_features * self.head.global_pool.feat_mult()
        initialise(self)

    def _end_level(self, layers: list[nn.Module], chs: int, reduction: int) -> None:
        self.ends.append(len(layers))
        module = f"features.{len(layers) - 1}"
        self.feature_info.append({"num_chs": chs, "reduction": reduction, "module": module})

    def levels(self) -> list[list[Step]]:
        """Return the five stages, each up to its pool, then the last pool with the attention block."""
        layers: list[Step] = list(self.features)
        starts = [0, *self.ends[:-1]]
        levels = [layers[start:end] for start, end in zip(starts, self.ends, strict=True)]
        levels[-1].append(self._attend)
        return levels

    def trunk(self) -> list[Step]:
        """Return the stages, and the attention block behind them."""
        return [self.features, self._attend]

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.attn is None else x + self.attn(x)

    def _run(self, level: Sequence[Step], x: torch.Tensor) -> torch.Tensor:
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint_seq(level, x, every=len(level))  # by stages: a VGG has no blocks
        return super()._run(level, x)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what the chosen levels do not need; the attention block belongs to the last level."""
        take = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        if max(take) < len(self.ends) - 1:
            self.attn = None
        return take

    def prune_head(self) -> None:
        """Drop the hidden layers, the classifier and its pooling, so that the output is the last map."""
        self.pre_logits = nn.Identity()
        self.head.in_features = self.num_features
        super().prune_head()

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Compute logits (N, num_classes), or the features before the classifier, from a map (N, C, H, W)."""
        return self.head(self.pre_logits(x), pre_logits=pre_logits)

    def build_classifier(self, num_classes: int, global_pool: str) -> None:
        """Replace the linear layer and its pooling."""
        self.head.reset(num_classes, global_pool)
        self.head.to(**self.placement).train(self.training)
        self.head_hidden_size = self.head.in_features * self.head.global_pool.feat_mult()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return the patterns of parameter groups by depth."""
        return {"stem": r"^features\.0", "blocks": r"^features\.(\d+)"}


for _name, _depths in DEPTHS.items():
    VGG.register(_name, depths=_depths, batch_norm=False)
    VGG.register(f"{_name}_bn", depths=_depths, batch_norm=True)
