"""ResNetV2, full pre-activation (He et al. 2016, arXiv:1603.05027), with an attention slot in every block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.layers import BatchNormAct2d, ClassifierHead, DropPath, make_divisible
from torch import nn

from fer_attention.models.base import Factory, FERModel, Step, activation_of, gate_of, initialise
from fer_attention.models.family import Traits
from fer_attention.models.residual import DEPTHS, TOTAL_STRIDE, WIDTHS, drop_path_rates, join, stem_layers
from fer_attention.models.spec import ModelSpec


class PreActBlock(nn.Module):
    """Residual block with norm and activation before each convolution and no activation after the sum.

    Two 3×3 convolutions, or as a bottleneck 1×1, 3×3 and 1×1, the 3×3 with a quarter of the output channels.

    Shape: (N, in, H, W) -> (N, out, H/stride, W/stride).
    """

    def __init__(
        self,
        spec: ModelSpec,
        in_chs: int,
        out_chs: int,
        *,
        bottleneck: bool,
        stride: int,
        drop_path: float,
        factory: Factory,
    ) -> None:
        super().__init__()
        act = activation_of(spec, factory)
        norm: Callable[..., nn.Module] = partial(BatchNormAct2d, act_layer=act, **factory)
        conv: Callable[..., nn.Conv2d] = partial(nn.Conv2d, bias=False, **factory)
        self.bottleneck = bottleneck
        self.downsample: nn.Module | None = None
        if stride != 1 or in_chs != out_chs:
            self.downsample = nn.Sequential(OrderedDict(conv=conv(in_chs, out_chs, 1, stride=stride)))
        self.norm1 = norm(in_chs)
        if bottleneck:
            mid_chs = make_divisible(out_chs / 4)
            self.conv1 = conv(in_chs, mid_chs, 1)
            self.norm2 = norm(mid_chs)
            self.conv2 = conv(mid_chs, mid_chs, 3, stride=stride, padding=1)
            self.norm3 = norm(mid_chs)
            self.conv3 = conv(mid_chs, out_chs, 1)
        else:
            self.conv1 = conv(in_chs, out_chs, 3, stride=stride, padding=1)
            self.norm2 = norm(out_chs)
            self.conv2 = conv(out_chs, out_chs, 3, padding=1)
        self.attn = gate_of(spec, out_chs, factory)
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the branch to the shortcut."""
        activated = self.norm1(x)
        branch = self.conv2(self.norm2(self.conv1(activated)))
        if self.bottleneck:
            branch = self.conv3(self.norm3(branch))
        shortcut = x if self.downsample is None else self.downsample(activated)
        return join(branch, shortcut, attn=self.attn, drop_path=self.drop_path)


class ResNetV2(FERModel):
    """Stem, four stages of pre-activation blocks, norm, global pooling and a 1×1 classifier."""

    traits = Traits(
        total_stride=TOTAL_STRIDE,
        feature_levels=5,
        residual_blocks=True,
        unpooled_logits=True,
        paper_biases=r"^stem\.conv$|^head\.fc$|\.downsample\.conv$|\.conv3$",
    )
    first_conv = "stem.conv"
    classifier = "head.fc"

    def __init__(
        self, spec: ModelSpec, *, bottleneck: bool, depths: tuple[int, int, int, int], **factory: Any
    ) -> None:
        super().__init__(spec)
        conv, pool = stem_layers(spec, factory)
        chs, reduction = conv.out_channels, conv.stride[0]
        self.stem = nn.Sequential(OrderedDict(conv=conv, pool=pool))
        self.feature_info = [{"num_chs": chs, "reduction": reduction, "module": "stem.conv"}]

        reduction *= 2 if spec.stem == "imagenet" else 1
        rates = iter(drop_path_rates(spec.drop_path_rate, sum(depths)))
        expansion = 4 if bottleneck else 1
        block = partial(PreActBlock, spec, bottleneck=bottleneck, factory=factory)
        self.stages = nn.Sequential()
        for stage, (depth, base) in enumerate(zip(depths, WIDTHS, strict=True)):
            out_chs = make_divisible(base * expansion * spec.width)
            blocks = nn.Sequential()
            for i in range(depth):
                step = 2 if i == 0 and stage > 0 else 1
                blocks.append(block(chs, out_chs, stride=step, drop_path=next(rates)))
                chs = out_chs
                reduction *= step
            self.stages.append(nn.Sequential(OrderedDict(blocks=blocks)))  # timm's name: stages.0.blocks.0
            self.feature_info.append(
                {"num_chs": chs, "reduction": reduction, "module": f"stages.{stage}.blocks"}
            )

        self.num_features = chs
        self.norm: nn.Module = BatchNormAct2d(chs, act_layer=activation_of(spec, factory), **factory)
        self.head = ClassifierHead(
            chs, spec.num_classes, spec.global_pool, drop_rate=spec.drop_rate, use_conv=True, **factory
        )
        self.head_hidden_size = chs * self.head.global_pool.feat_mult()
        initialise(self)

    def levels(self) -> list[list[Step]]:
        """Return the stem's convolution, then the four stages."""
        conv, pool = self.stem
        first, *others = self.stages
        levels: list[list[Step]] = [[conv], [pool, first]]
        return levels + [[stage] for stage in others]

    def trunk(self) -> list[Step]:
        """Return stem and stages."""
        return [self.stem, self.stages]

    def final_norm(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the norm and activation of the last sum."""
        return self.norm(x)

    def prune_norm(self) -> None:
        """Drop the final norm."""
        self.norm = nn.Identity()

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Compute logits (N, num_classes), or the pooled features, from a map (N, C, H, W)."""
        return self.head(x, pre_logits=pre_logits)

    def build_classifier(self, num_classes: int, global_pool: str) -> None:
        """Replace the 1×1 classifier and its pooling."""
        self.head.in_features = self.num_features
        self.head.reset(num_classes, global_pool)
        self.head.to(**self.placement).train(self.training)
        self.head_hidden_size = self.num_features * self.head.global_pool.feat_mult()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return the patterns of parameter groups by depth."""
        fine = [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else fine}


for _depth, (_bottleneck, _blocks) in DEPTHS.items():
    ResNetV2.register(f"resnetv2_{_depth}", bottleneck=_bottleneck, depths=_blocks)
