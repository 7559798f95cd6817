"""ResNet (He et al. 2015, arXiv:1512.03385) with an attention slot in every block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from timm.layers import DropPath, create_classifier, make_divisible
from torch import nn
from torch.nn import functional as F

from fer_attention.models.base import Factory, FERModel, Step, activation_of, gate_of, initialise
from fer_attention.models.family import Traits
from fer_attention.models.residual import DEPTHS, TOTAL_STRIDE, WIDTHS, drop_path_rates, join, stem_layers
from fer_attention.models.spec import ModelSpec


class BasicBlock(nn.Module):
    """Residual block of two 3×3 convolutions: (N, in, H, W) -> (N, out, H/stride, W/stride)."""

    expansion = 1

    def __init__(
        self, spec: ModelSpec, in_chs: int, mid_chs: int, *, stride: int, drop_path: float, factory: Factory
    ) -> None:
        super().__init__()
        act = activation_of(spec, factory)
        self.conv1 = nn.Conv2d(in_chs, mid_chs, 3, stride=stride, padding=1, bias=False, **factory)
        self.bn1 = nn.BatchNorm2d(mid_chs, **factory)
        self.act1 = act()
        self.conv2 = nn.Conv2d(mid_chs, mid_chs, 3, padding=1, bias=False, **factory)
        self.bn2 = nn.BatchNorm2d(mid_chs, **factory)
        self.attn = gate_of(spec, mid_chs, factory)
        self.drop_path = DropPath(drop_path) if drop_path else None
        self.downsample = _projection(in_chs, mid_chs, stride, factory)
        self.act2 = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the branch to the shortcut and activate the sum."""
        branch = self.conv2(self.act1(self.bn1(self.conv1(x))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return join(branch, shortcut, norm=self.bn2, attn=self.attn, drop_path=self.drop_path, act=self.act2)


class Bottleneck(nn.Module):
    """Residual block of 1×1, 3×3, 1×1 convolutions: (N, in, H, W) -> (N, 4·mid, H/stride, W/stride)."""

    expansion = 4

    def __init__(
        self, spec: ModelSpec, in_chs: int, mid_chs: int, *, stride: int, drop_path: float, factory: Factory
    ) -> None:
        super().__init__()
        act = activation_of(spec, factory)
        out_chs = mid_chs * self.expansion
        first, second = (stride, 1) if spec.stride_on == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(in_chs, mid_chs, 1, stride=first, bias=False, **factory)
        self.bn1 = nn.BatchNorm2d(mid_chs, **factory)
        self.act1 = act()
        self.conv2 = nn.Conv2d(mid_chs, mid_chs, 3, stride=second, padding=1, bias=False, **factory)
        self.bn2 = nn.BatchNorm2d(mid_chs, **factory)
        self.act2 = act()
        self.conv3 = nn.Conv2d(mid_chs, out_chs, 1, bias=False, **factory)
        self.bn3 = nn.BatchNorm2d(out_chs, **factory)
        self.attn = gate_of(spec, out_chs, factory)
        self.drop_path = DropPath(drop_path) if drop_path else None
        self.downsample = _projection(in_chs, out_chs, stride, factory)
        self.act3 = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the branch to the shortcut and activate the sum."""
        branch = self.act1(self.bn1(self.conv1(x)))
        branch = self.conv3(self.act2(self.bn2(self.conv2(branch))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return join(branch, shortcut, norm=self.bn3, attn=self.attn, drop_path=self.drop_path, act=self.act3)


def _projection(in_chs: int, out_chs: int, stride: int, factory: Factory) -> nn.Sequential | None:
    if stride == 1 and in_chs == out_chs:
        return None
    return nn.Sequential(
        nn.Conv2d(in_chs, out_chs, 1, stride=stride, bias=False, **factory),
        nn.BatchNorm2d(out_chs, **factory),
    )


class ResNet(FERModel):
    """Four stages of residual blocks, global pooling and one linear layer."""

    traits = Traits(total_stride=TOTAL_STRIDE, feature_levels=5, residual_blocks=True, paper_biases=".*")
    first_conv = "conv1"
    classifier = "fc"

    def __init__(
        self, spec: ModelSpec, *, block: type[BasicBlock | Bottleneck], depths: Sequence[int], **factory: Any
    ) -> None:
        super().__init__(spec)
        self.conv1, self.maxpool = stem_layers(spec, factory)
        chs, reduction = self.conv1.out_channels, self.conv1.stride[0]
        self.bn1 = nn.BatchNorm2d(chs, **factory)
        self.act1 = activation_of(spec, factory)()
        self.feature_info = [{"num_chs": chs, "reduction": reduction, "module": "act1"}]

        reduction *= 2 if spec.stem == "imagenet" else 1
        self.layer1, self.layer2, self.layer3, self.layer4 = (nn.Sequential() for _ in depths)
        rates = iter(drop_path_rates(spec.drop_path_rate, sum(depths)))
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        for stage, (blocks, depth) in enumerate(zip(stages, depths, strict=True)):
            mid_chs = make_divisible(WIDTHS[stage] * spec.width)
            for i in range(depth):
                step = 2 if i == 0 and stage > 0 else 1
                blocks.append(block(spec, chs, mid_chs, stride=step, drop_path=next(rates), factory=factory))
                chs = mid_chs * block.expansion
                reduction *= step
            self.feature_info.append({"num_chs": chs, "reduction": reduction, "module": f"layer{stage + 1}"})

        self.num_features = chs
        self.global_pool, self.fc = create_classifier(
            chs, spec.num_classes, pool_type=spec.global_pool, **factory
        )
        self.head_hidden_size = chs * self.global_pool.feat_mult()
        initialise(self)

    def levels(self) -> list[list[Step]]:
        """Return the stem, then the four stages."""
        return [
            [self.conv1, self.bn1, self.act1],
            [self.maxpool, self.layer1],
            [self.layer2],
            [self.layer3],
            [self.layer4],
        ]

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Compute logits (N, num_classes), or the pooled features, from a map (N, C, H, W)."""
        x = self.global_pool(x)
        if self.drop_rate:
            x = F.dropout(x, p=self.drop_rate, training=self.training)
        return x if pre_logits else self.fc(x)

    def build_classifier(self, num_classes: int, global_pool: str) -> None:
        """Replace the linear layer and its pooling."""
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=global_pool, **self.placement
        )
        self.global_pool.train(self.training)
        self.fc.train(self.training)
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return the patterns of parameter groups by depth."""
        return {"stem": r"^conv1|bn1|maxpool", "blocks": r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"}


for _depth, (_bottleneck, _blocks) in DEPTHS.items():
    ResNet.register(
        f"resnet{_depth}",
        traits=replace(ResNet.traits, stride_on=("3x3", "1x1")) if _bottleneck else None,
        block=Bottleneck if _bottleneck else BasicBlock,
        depths=_blocks,
    )
