"""SE, ECA and CBAM line by line, as in most repositories: the same equations, not optimised."""

from __future__ import annotations

import torch
from torch import nn

from fer_attention.attention import eca_kernel_size
from fer_attention.models import FERModel


class NaiveSE(nn.Module):
    """Hu et al. 2018, eq. 2-4: pooling layer, two linear layers, product with the expanded scale."""

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        n, c, _, _ = x.shape
        scale = self.mlp(self.pool(x).view(n, c)).view(n, c, 1, 1)
        y: torch.Tensor = x * scale.expand_as(x)
        return y


class NaiveECA(nn.Module):
    """Wang et al. 2020, eq. 9: pooling layer, convolution over channels, product with the expanded scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = eca_kernel_size(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        squeezed = self.pool(x).squeeze(-1).transpose(-1, -2)
        scale = self.sigmoid(self.conv(squeezed).transpose(-1, -2).unsqueeze(-1))
        y: torch.Tensor = x * scale.expand_as(x)
        return y


class NaiveCBAM(nn.Module):
    """Woo et al. 2018, eq. 1-3: separate poolings, calls of the shared MLP, and products."""

    def __init__(self, channels: int, *, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.peak = nn.AdaptiveMaxPool2d(1)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // reduction, channels, 1, bias=False),
        )
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        x = x * self.sigmoid(self.mlp(self.mean(x)) + self.mlp(self.peak(x)))
        mean = torch.mean(x, dim=1, keepdim=True)
        peak, _ = torch.max(x, dim=1, keepdim=True)
        y: torch.Tensor = x * self.sigmoid(self.conv(torch.cat([mean, peak], dim=1)))
        return y


NAIVE: dict[str, type[NaiveSE | NaiveECA | NaiveCBAM]] = {"se": NaiveSE, "eca": NaiveECA, "cbam": NaiveCBAM}


class AddedBack(nn.Module):
    """x + attention(x), as in the paper's VGG."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        y: torch.Tensor = x + self.attention(x)
        return y


def insert_naive(model: FERModel, name: str) -> list[nn.Module]:
    """Insert naive blocks at the positions of ours into a model without attention.

    They follow the last layer of every residual branch, and the last stage of a VGG.

    Returns:
        The blocks, first to last.
    """
    if model.spec.backbone.startswith("vgg"):
        last = [path for path, _ in model.named_modules() if path.startswith("features.")][-1]
        block = NAIVE[name](model.num_features)
        model.set_submodule(last, nn.Sequential(model.get_submodule(last), AddedBack(block)))
        return [block]
    blocks: list[nn.Module] = []
    for path, module in list(model.named_modules()):
        if not hasattr(module, "attn"):
            continue
        layers = dict(module.named_children())
        candidates = ("conv3", "conv2") if model.spec.backbone.startswith("resnetv2") else ("bn3", "bn2")
        last = next(layer for layer in candidates if layer in layers)
        convolution = layers[last.replace("bn", "conv")]
        blocks.append(NAIVE[name](convolution.out_channels))
        model.set_submodule(f"{path}.{last}", nn.Sequential(layers[last], blocks[-1]))
    return blocks
