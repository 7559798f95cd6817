"""Convolutional block attention module: a channel gate, then a spatial gate."""

from __future__ import annotations

import torch
from torch import nn

from fer_attention.attention.base import ATTENTIONS, AttentionGate, odd_kernel, reduced_channels


class CBAMChannelGate(AttentionGate):
    """CBAM's channel gate (Woo et al. 2018, arXiv:1807.06521, eq. 2).

    s = sigmoid(W1 relu(W0 avg) + W1 relu(W0 max)), one shared MLP without biases for the mean and the
    maximum of each channel, hidden width C // reduction.

    Shape: (N, C, H, W) -> (N, C, H, W). One weight in (0, 1) per sample and channel.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        hidden = reduced_channels(channels, reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False, device=device, dtype=dtype)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False, device=device, dtype=dtype)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        mean = self.act(self.fc1(x.mean((2, 3), keepdim=True)))
        peak = self.act(self.fc1(x.amax((2, 3), keepdim=True)))
        return self.fc2(mean + peak).sigmoid()  # W1 is linear: one product serves both terms


class CBAMSpatialGate(AttentionGate):
    """CBAM's spatial gate (Woo et al. 2018, arXiv:1807.06521, eq. 3).

    s = sigmoid(conv_k([mean over channels; maximum over channels])), without bias.

    Shape: (N, C, H, W) -> (N, C, H, W). One weight in (0, 1) per sample and place.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        k = odd_kernel(kernel_size)
        self.conv = nn.Conv2d(2, 1, k, padding=k // 2, bias=False, device=device, dtype=dtype)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, 1, H, W)."""
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return self.conv(pooled).sigmoid()


@ATTENTIONS.register("cbam")
class CBAM(AttentionGate):
    """Convolutional block attention module (Woo et al. 2018, arXiv:1807.06521, eq. 1-3).

    The channel gate first, then the spatial gate on the channel-refined map.

    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        kernel_size: int = 7,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels)
        self.channel = CBAMChannelGate(channels, reduction=reduction, device=device, dtype=dtype)
        self.spatial = CBAMSpatialGate(channels, kernel_size=kernel_size, device=device, dtype=dtype)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W), the product of both gates' weights."""
        channel = self.channel.weights(x)
        return channel * self.spatial.weights(x * channel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return self.spatial(self.channel(x))
