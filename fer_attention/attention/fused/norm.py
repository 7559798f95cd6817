"""A batch norm as part of a fused block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Normalisation(NamedTuple):
    """A norm with the statistics of one call, y = (x - mean) · invstd · weight + bias; each (C,)."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    invstd: Tensor

    @property
    def scale(self) -> Tensor:
        """A of y = a x + b."""
        return self.weight * self.invstd

    @property
    def offset(self) -> Tensor:
        """B of y = a x + b."""
        return self.bias - self.mean * self.scale


class NormGradients(NamedTuple):
    """The gradient before a norm is scale · grad + slope · x + offset, with grad behind it; each (C,)."""

    slope: Tensor  # factor of the norm's input
    offset: Tensor  # a constant
    weight: Tensor  # the gradient of the norm's weight
    bias: Tensor  # the gradient of the norm's bias


@dataclass(frozen=True)
class FusedBatchNorm:
    """Settings of a batch norm for one call, beside its weight and bias."""

    mean: Tensor | None  # running mean (C,), or None
    variance: Tensor | None  # running variance (C,), or None
    batch: bool  # whether it uses the batch's own statistics, which then update the running ones
    momentum: float  # the share of the batch in an update
    eps: float  # what is added to the variance

    @staticmethod
    def takes(norm: nn.BatchNorm2d, x: Tensor) -> bool:
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
        self, x: Tensor, weight: Tensor, bias: Tensor, *, keep: bool
    ) -> tuple[Tensor, Normalisation | None]:
        """The normalised map, and what it was normalised by if that is to be kept."""
        y, mean, invstd = torch.native_batch_norm(
            x, weight, bias, self.mean, self.variance, self.batch, self.momentum, self.eps
        )
        if not keep:
            return y, None
        if not self.batch and self.mean is not None and self.variance is not None:
            mean, invstd = self.mean, (self.variance + self.eps).rsqrt()  # the operator leaves its own empty
        return y, Normalisation(weight, bias, mean, invstd)

    def again(self, x: Tensor, norm: Normalisation) -> Tensor:
        """The normalised map once more; nothing is updated."""
        variance = norm.invstd.pow(-2).sub_(self.eps)
        known = norm.mean, variance, False, 0.0, self.eps
        return torch.native_batch_norm(x, norm.weight, norm.bias, *known)[0]

    def backward(self, grad: Tensor, x: Tensor, norm: Normalisation) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of input, weight and bias, by passes over the whole map."""
        mean, invstd = (norm.mean, norm.invstd) if self.batch else (None, None)
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, norm.weight, self.mean, self.variance, mean, invstd, self.batch, self.eps, [True] * 3
        )
        return of_x, of_weight, of_bias

    def backward_from_sums(
        self, total: Tensor, product: Tensor, norm: Normalisation, *, count: int
    ) -> NormGradients:
        """The same without a pass (Ioffe and Szegedy 2015, arXiv:1502.03167, section 3).

        `total` and `product` are sums over each map, (N, C): of the gradient behind the norm, and of that
        gradient times the norm's input. `count` is N·H·W.
        """
        of_bias = total.sum(0)
        of_weight = (product - norm.mean * total).sum(0) * norm.invstd
        if not self.batch:
            zero = torch.zeros_like(of_bias)
            return NormGradients(zero, zero, of_weight, of_bias)
        slope = norm.scale * norm.invstd * of_weight / -count
        offset = norm.scale * of_bias / -count - slope * norm.mean
        return NormGradients(slope, offset, of_weight, of_bias)
