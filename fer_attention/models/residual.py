"""Parts of ResNet and ResNetV2: depths, widths, stems, stochastic depth and the end of a residual block."""

from __future__ import annotations

import torch
from timm.layers import DropPath, make_divisible
from torch import nn

from fer_attention.attention import AttentionBlock
from fer_attention.attention.fused.choice import hooked
from fer_attention.models.base import Factory
from fer_attention.models.spec import ModelSpec

DEPTHS: dict[str, tuple[bool, tuple[int, int, int, int]]] = {
    "18": (False, (2, 2, 2, 2)),
    "34": (False, (3, 4, 6, 3)),
    "50": (True, (3, 4, 6, 3)),
    "101": (True, (3, 4, 23, 3)),
    "152": (True, (3, 8, 36, 3)),
}
"""Bottlenecks (yes or no) and blocks per stage of each depth (He et al. 2015, table 1)."""

WIDTHS = (64, 128, 256, 512)
"""Channels of the 3×3 convolutions in each stage."""

STEM_CONV = {"imagenet": (7, 2), "half": (3, 2), "full": (3, 1)}
"""Kernel size and stride of each stem's convolution."""

TOTAL_STRIDE = {"imagenet": 32, "half": 16, "full": 8}
"""Input size over the size of the last map, by stem."""


def stem_layers(spec: ModelSpec, factory: Factory) -> tuple[nn.Conv2d, nn.Module]:
    """Build the first convolution and its max pool, an Identity if the stem has none."""
    kernel, stride = STEM_CONV[spec.stem]
    channels = make_divisible(64 * spec.width)
    conv = nn.Conv2d(
        spec.in_chans, channels, kernel, stride=stride, padding=kernel // 2, bias=False, **factory
    )
    return conv, nn.MaxPool2d(3, stride=2, padding=1) if spec.stem == "imagenet" else nn.Identity()


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """Return rates of stochastic depth that grow linearly to `last` (Huang et al. 2016, arXiv:1603.09382)."""
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
    """End a residual block: act(drop_path(attn(norm(x))) + shortcut), without the parts that are None.

    If nothing stands between the attention block and the sum, the block computes all of it in one operation,
    which may be faster than its parts.
    """
    drops = drop_path is not None and drop_path.training
    if attn is not None and not drops:
        return attn.residual(x, shortcut, norm=norm, act=act)
    overwrites = attn is None and not drops and _may_overwrite(norm, shortcut)
    if norm is not None:
        x = norm(x)
    if attn is not None:
        x = attn(x)
    if drop_path is not None:
        x = drop_path(x)
    x = x.add_(shortcut) if overwrites and x.dtype == shortcut.dtype else x + shortcut
    return x if act is None else act(x)


def _may_overwrite(norm: nn.Module | None, shortcut: torch.Tensor) -> bool:
    """Return whether nobody else can see the output of a norm: in inference, without hooks or transforms."""
    return (
        type(norm) is nn.BatchNorm2d
        and type(shortcut) is torch.Tensor
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and torch._C._functorch.peek_interpreter_stack() is None
        and not hooked((norm,))
    )
