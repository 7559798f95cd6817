"""A family of backbones: plain convolutions that halve the map, a gate behind the last one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fer_attention.models import FERModel, ModelSpec, Traits
from fer_attention.models.base import activation_of, gate_of, initialise


class ConvNet(FERModel):
    """Convolutions with stride 2 and a linear layer on the mean of the last map."""

    traits = Traits(total_stride={"imagenet": 16}, feature_levels=4)
    first_conv = "stages.0.0"
    classifier = "fc"

    def __init__(
        self,
        spec: ModelSpec,
        *,
        channels: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(spec)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        act, chs = activation_of(spec, factory), spec.in_chans
        self.stages = nn.Sequential()
        for stage in range(4):
            out = int(channels * 2**stage * spec.width)
            conv = nn.Conv2d(chs, out, 3, stride=2, padding=1, bias=False, **factory)
            self.stages.append(nn.Sequential(conv, nn.BatchNorm2d(out, **factory), act()))
            self.feature_info.append(
                {"num_chs": out, "reduction": 2 ** (stage + 1), "module": f"stages.{stage}"}
            )
            chs = out
        self.attn = gate_of(spec, chs, factory)
        self.num_features = self.head_hidden_size = chs
        self.fc: nn.Module = nn.Identity()
        self.build_classifier(spec.num_classes, spec.global_pool)
        self.fc.to(**factory)
        initialise(self)

    def levels(self) -> list[list[Any]]:
        """Return the four convolutions; the gate reads the last map."""
        levels: list[list[Any]] = [[stage] for stage in self.stages]
        return levels if self.attn is None else [*levels[:-1], [*levels[-1], self.attn]]

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """(N, C, H, W) -> logits (N, num_classes)."""
        x = x.mean((2, 3)) if self.spec.global_pool else x
        return x if pre_logits else self.fc(x)

    def get_classifier(self) -> nn.Module:
        """Return the linear layer."""
        return self.fc

    def build_classifier(self, num_classes: int, global_pool: str) -> None:
        """Create a linear layer."""
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.fc.to(**self.placement)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Parameter groups by depth, for timm's layer-wise learning rates."""
        return {"stem": r"^stages\.0", "blocks": r"^stages\.(\d+)"}


for _channels in (16, 32):
    ConvNet.register(f"convnet_{_channels}", channels=_channels)
