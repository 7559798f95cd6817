"""A batch norm as part of a fused block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn


class Normalisation(NamedTuple):
    """A norm with the statistics of one call, y = (x - mean) · invstd · weight + bias; each (C,)."""

    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    invstd: torch.Tensor

    @property
    def scale(self) -> torch.Tensor:
        """A of y = a x + b."""
        return self.weight * self.invstd

    @property
    def offset(self) -> torch.Tensor:
        """B of y = a x + b."""
        return self.bias - self.mean * self.scale


class NormGradients(NamedTuple):
    """The gradient before a norm is scale · grad + slope · x + offset, grad being that behind it; each (C,).

    Attributes:
        slope: Factor of the norm's input.
        offset: A constant.
        weight: The gradient of the norm's weight.
        bias: The gradient of the norm's bias.
    """

    slope: torch.Tensor
    offset: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True)
class FusedBatchNorm:
    """Settings of a batch norm for one call, beside its weight and bias.

    Attributes:
        mean: Running mean (C,), or None.
        variance: Running variance (C,), or None.
        batch: Whether it uses the batch's own statistics, which then update the running ones.
        momentum: The share of the batch in an update.
        eps: What is added to the variance.
    """

    mean: torch.Tensor | None
    variance: torch.Tensor | None
    batch: bool
    momentum: float
    eps: float

    @staticmethod
    def takes(norm: nn.BatchNorm2d, x: torch.Tensor) -> bool:
        """Return whether a module is a plain batch norm with weight and bias, and can take this map."""
        uses_batch = norm.training or norm.running_mean is None
        return (
            type(norm) is nn.BatchNorm2d
            and norm.affine
            and norm.momentum is not None
            and norm.num_features == x.shape[1]
            and not (uses_batch and x.numel() == x.shape[1])  # one value per channel: torch's error is due
        )

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> FusedBatchNorm:
        """The record for one call of a module, which counts the batch as the module would."""
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        updates = norm.training and norm.track_running_stats
        batch = norm.training or norm.running_mean is None
        kept = (norm.running_mean, norm.running_var) if updates or not batch else (None, None)
        return cls(*kept, batch=batch, momentum=norm.momentum or 0.0, eps=norm.eps)

    def forward(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, keep: bool
    ) -> tuple[torch.Tensor, Normalisation | None]:
        """The normalised map, and what it was normalised by if that is to be kept."""
        y, mean, invstd = torch.native_batch_norm(
            x, weight, bias, self.mean, self.variance, self.batch, self.momentum, self.eps
        )
        if not keep:
            return y, None
        if not self.batch and self.mean is not None and self.variance is not None:
            mean, invstd = self.mean, (self.variance + self.eps).rsqrt()  # the operator leaves its own empty
        return y, Normalisation(weight, bias, mean, invstd)

    def again(self, x: torch.Tensor, norm: Normalisation) -> torch.Tensor:
        """The normalised map once more; nothing is updated."""
        variance = norm.invstd.pow(-2).sub_(self.eps)
        known = norm.mean, variance, False, 0.0, self.eps
        return torch.native_batch_norm(x, norm.weight, norm.bias, *known)[0]

    def backward(
        self, grad: torch.Tensor, x: torch.Tensor, norm: Normalisation
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients of input, weight and bias, by passes over the whole map."""
        mean, invstd = (norm.mean, norm.invstd) if self.batch else (None, None)
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, norm.weight, self.mean, self.variance, mean, invstd, self.batch, self.eps, [True] * 3
        )
        return of_x, of_weight, of_bias

    def backward_from_sums(
        self, total: torch.Tensor, product: torch.Tensor, norm: Normalisation, *, count: int
    ) -> NormGradients:
        """The same without a pass (Ioffe and Szegedy 2015, arXiv:1502.03167, section 3).

        Args:
            total: Sum of the gradient behind the norm, by sample and channel (N, C).
            product: Sum of that gradient times the norm's input, (N, C).
            norm: What the map was normalised by.
            count: Values per channel, N·H·W.
        """
        of_bias = total.sum(0)
        of_weight = (product - norm.mean * total).sum(0) * norm.invstd
        if not self.batch:
            zero = torch.zeros_like(of_bias)
            return NormGradients(zero, zero, of_weight, of_bias)
        slope = norm.scale * norm.invstd * of_weight / -count
        offset = norm.scale * of_bias / -count - slope * norm.mean
        return NormGradients(slope, offset, of_weight, of_bias)
