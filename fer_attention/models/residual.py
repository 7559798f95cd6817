"""What ResNet and ResNetV2 share: depths, widths, stems, stochastic depth, the end of a residual branch."""

from __future__ import annotations

import torch
from timm.layers import DropPath, make_divisible
from torch import nn

from fer_attention.attention import AttentionBlock
from fer_attention.models.base import Factory
from fer_attention.models.spec import ModelSpec

DEPTHS: dict[str, tuple[bool, tuple[int, int, int, int]]] = {
    "18": (False, (2, 2, 2, 2)),
    "34": (False, (3, 4, 6, 3)),
    "50": (True, (3, 4, 6, 3)),
    "101": (True, (3, 4, 23, 3)),
    "152": (True, (3, 8, 36, 3)),
}
"""Whether each depth has bottlenecks, and its blocks per stage (He et al. 2015, table 1)."""

WIDTHS = (64, 128, 256, 512)
"""Channels of the 3×3 convolutions in each stage."""

STEM_CONV = {"imagenet": (7, 2), "half": (3, 2), "full": (3, 1)}
"""Kernel size and stride of each stem's convolution."""

TOTAL_STRIDE = {"imagenet": 32, "half": 16, "full": 8}
"""Input size over last map, by stem."""


def stem_layers(spec: ModelSpec, factory: Factory) -> tuple[nn.Conv2d, nn.Module]:
    """The first convolution and the pool behind it, an Identity where the stem has none."""
    kernel, stride = STEM_CONV[spec.stem]
    channels = make_divisible(64 * spec.width)
    conv = nn.Conv2d(
        spec.in_chans, channels, kernel, stride=stride, padding=kernel // 2, bias=False, **factory
    )
    return conv, nn.MaxPool2d(3, stride=2, padding=1) if spec.stem == "imagenet" else nn.Identity()


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """Stochastic depth, growing linearly to its last rate (Huang et al. 2016, arXiv:1603.09382)."""
    return [last * i / (blocks - 1) for i in range(blocks)]


def join(
    x: torch.Tensor,
    shortcut: torch.Tensor,
    *,
    attn: AttentionBlock | None,
    drop_path: DropPath | None,
    norm: nn.Module | None = None,
    act: nn.Module | None = None,
) -> torch.Tensor:
    """The end of a residual block, act(drop_path(attn(norm(x))) + shortcut), each part where there is one.

    Where nothing stands between the attention block and the sum, all of it is one operation of the block,
    which may know a faster way to it than its parts.
    """
    drops = drop_path is not None and drop_path.training
    if attn is not None and not drops:
        return attn.residual(x, shortcut, norm=norm, act=act)
    if norm is not None:
        x = norm(x)
    if attn is not None:
        x = attn(x)
    if drop_path is not None:
        x = drop_path(x)
    x = x + shortcut
    return x if act is None else act(x)
