"""Convolutional block attention module: a channel gate, then a spatial gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.types import Device

from fer_attention.attention.base import ATTENTIONS, SigmoidGate, Start
from fer_attention.attention.fused.choice import Implementation
from fer_attention.attention.fused.gates import MLPFormula
from fer_attention.attention.fusible import FusibleGate, GateFormula, mlp_formula
from fer_attention.attention.parts import first_maximum, odd_kernel, reduced_channels


class CBAMChannelGate(SigmoidGate):
    """CBAM's channel gate (Woo et al. 2018, arXiv:1807.06521, eq. 2).

    s = sigmoid(W1 relu(W0 avg) + W1 relu(W0 max)): one MLP without biases, of hidden width C // reduction,
    reads both the mean and the maximum of each channel.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample and channel.

    >>> CBAMChannelGate(64).scale(torch.rand(2, 64, 12, 12)).shape
    torch.Size([2, 64, 1, 1])
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        hidden_floor: int = 0,
        start: Start = "published",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, start=start)
        hidden = reduced_channels(channels, reduction, least=hidden_floor)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False, device=device, dtype=dtype)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False, device=device, dtype=dtype)
        self.start_layers(self.fc2)

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each channel, (N, C, 1, 1)."""
        mean = self.act(self.fc1(x.mean((2, 3), keepdim=True)))
        peak = self.act(self.fc1(first_maximum(x.flatten(2), 2).unsqueeze(-1)))
        return self.squash(self.fc2(mean + peak))  # W1 is linear: one product serves both terms


class CBAMSpatialGate(SigmoidGate):
    """CBAM's spatial gate (Woo et al. 2018, arXiv:1807.06521, eq. 3).

    s = sigmoid(conv_k([mean over channels; maximum over channels])), without bias.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per sample and position.

    >>> CBAMSpatialGate(64).scale(torch.rand(2, 64, 12, 12)).shape
    torch.Size([2, 1, 12, 12])
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        start: Start = "published",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, start=start)
        k = odd_kernel(kernel_size)
        self.conv = nn.Conv2d(2, 1, k, padding=k // 2, bias=False, device=device, dtype=dtype)
        self.start_layers(self.conv)

    def scale(self, x: Tensor) -> Tensor:
        """Compute the scale of each position, (N, 1, H, W)."""
        pooled = torch.cat([x.mean(1, keepdim=True), first_maximum(x, 1)], dim=1)
        return self.squash(self.conv(pooled))


class SequentialGate(FusibleGate):
    """A channel gate, then a spatial gate on the channel-refined map (Woo et al. 2018, eq. 1).

    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(
        self, channel: SigmoidGate, spatial: SigmoidGate, *, start: Start, implementation: Implementation
    ) -> None:
        super().__init__(channel.channels, start=start, implementation=implementation)
        self.bounds = (0.0, channel.ceiling * spatial.ceiling)
        self.channel = channel
        self.spatial = spatial

    def scale(self, x: Tensor) -> Tensor:
        """Compute the product of both gates' scales, (N, C, H, W)."""
        channel = self.channel.scale(x)
        return channel * self.spatial.scale(x * channel)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return both gates' scales, (N, C, 1, 1) and (N, 1, H, W)."""
        channel = self.channel.scale(x)
        return {"channel": channel, "spatial": self.spatial.scale(x * channel)}

    def plain(self, x: Tensor) -> Tensor:
        """Apply one gate after the other, module by module."""
        refined: Tensor = self.spatial(self.channel(x))
        return refined

    def formula(self) -> GateFormula | None:
        """Return both gates as the fused step computes them."""
        channel, spatial = self.channel_formula(), self.spatial
        if channel is None or type(spatial) is not CBAMSpatialGate or type(spatial.conv) is not nn.Conv2d:
            return None
        if channel.channel.ceiling != spatial.ceiling:
            return None  # the fused step has one ceiling for both gates
        parameters = {f"channel.{name}": parameter for name, parameter in channel.parameters.items()}
        parameters["spatial.conv.weight"] = spatial.conv.weight
        modules = (self, *channel.modules, spatial, spatial.conv)
        return GateFormula(channel.channel, parameters, modules, spatial=True)

    def channel_formula(self) -> GateFormula | None:
        """Return the channel gate as the fused step computes it."""
        raise NotImplementedError


@ATTENTIONS.register("cbam")
class CBAM(SequentialGate):
    """Convolutional block attention module (Woo et al. 2018, arXiv:1807.06521, eq. 1-3).

    The channel gate first, then the spatial gate on the channel-refined map.

    Shape: (N, C, H, W) -> (N, C, H, W). One scale in (0, 1) per value, the product of both gates' scales.

    `hidden_floor` is the least hidden width of the channel gate, as in `SEBlock`. With `start="open"` both
    gates are 2 · sigmoid(…), within (0, 2); `channel.fc2` and `spatial.conv` start at zero and a new block is
    the identity. (The authors' code starts the batch norm of the spatial gate with weight zero instead, so
    that this gate starts at 1/2 everywhere.)

    >>> block = CBAM(64, reduction=8, kernel_size=5)
    >>> {part: tuple(scale.shape) for part, scale in block.maps(torch.rand(2, 64, 12, 12)).items()}
    {'channel': (2, 64, 1, 1), 'spatial': (2, 1, 12, 12)}
    """

    title = "CBAM"
    summary = "scales channels by their means and maxima, then positions"

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        hidden_floor: int = 0,
        kernel_size: int = 7,
        start: Start = "published",
        implementation: Implementation = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            CBAMChannelGate(
                channels,
                reduction=reduction,
                hidden_floor=hidden_floor,
                start=start,
                device=device,
                dtype=dtype,
            ),
            CBAMSpatialGate(channels, kernel_size=kernel_size, start=start, device=device, dtype=dtype),
            start=start,
            implementation=implementation,
        )

    def channel_formula(self) -> GateFormula | None:
        """Return the channel gate as the fused step computes it."""
        if type(self) is not CBAM or type(self.channel) is not CBAMChannelGate:
            return None
        return mlp_formula(self.channel, MLPFormula(peak=True, bias=False, ceiling=self.channel.ceiling))
