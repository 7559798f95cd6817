"""A batch norm as part of a fused block."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn


class FusedBatchNorm(NamedTuple):
    """Settings of a batch norm for one call, besides its weight and bias."""

    mean: Tensor | None  # running mean (C,), or None
    variance: Tensor | None  # running variance (C,), or None
    batch: bool  # whether it uses the batch's statistics, which then update the running ones
    momentum: float  # weight of the batch in an update
    eps: float  # added to the variance

    @staticmethod
    def takes(norm: nn.Module | None, x: Tensor) -> TypeGuard[nn.BatchNorm2d]:
        """Return whether a module is a plain batch norm with weight and bias that accepts this map."""
        return (
            isinstance(norm, nn.BatchNorm2d)
            and type(norm) is nn.BatchNorm2d
            and norm.affine
            and norm.momentum is not None
            and norm.num_features == x.shape[1]
            # torch refuses one value per channel, which has no variance
            and not ((norm.training or norm.running_mean is None) and x.numel() == x.shape[1])
        )

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> FusedBatchNorm:
        """Create the record for one call of a module, and count the batch as the module would."""
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        updates = norm.training and norm.track_running_stats
        batch = norm.training or norm.running_mean is None
        kept = (norm.running_mean, norm.running_var) if updates or not batch else (None, None)
        return cls(*kept, batch=batch, momentum=norm.momentum or 0.0, eps=norm.eps)

    def forward(
        self, x: Tensor, weight: Tensor, bias: Tensor, *, keep: bool
    ) -> tuple[Tensor, Normalisation | None]:
        """Normalise a map; with `keep` also return the statistics used."""
        y, mean, invstd = torch.native_batch_norm(
            x, weight, bias, self.mean, self.variance, self.batch, self.momentum, self.eps
        )
        if not keep:
            return y, None
        if not self.batch and self.mean is not None and self.variance is not None:
            mean, invstd = self.mean, (self.variance + self.eps).rsqrt()  # the operator returns none
        return y, Normalisation(self, weight, bias, mean, invstd)


class Normalisation(NamedTuple):
    """A norm with the statistics of one call, y = (x - mean) · invstd · weight + bias; each (C,)."""

    norm: FusedBatchNorm
    weight: Tensor
    bias: Tensor
    mean: Tensor
    invstd: Tensor

    @property
    def scale(self) -> Tensor:
        """Factor a of y = a x + b."""
        return self.weight * self.invstd

    @property
    def offset(self) -> Tensor:
        """Offset b of y = a x + b."""
        return self.bias - self.mean * self.scale

    def again(self, x: Tensor) -> Tensor:
        """Normalise a map once more, without an update."""
        variance = self.invstd.pow(-2).sub_(self.norm.eps)
        known = self.mean, variance, False, 0.0, self.norm.eps
        return torch.native_batch_norm(x, self.weight, self.bias, *known)[0]

    def backward(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the gradients of input, weight and bias, by passes over the whole map."""
        norm = self.norm
        running = norm.mean, norm.variance
        own = (self.mean, self.invstd) if norm.batch else (None, None)
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, self.weight, *running, *own, norm.batch, norm.eps, [True] * 3
        )
        return of_x, of_weight, of_bias

    def backward_from_sums(
        self, total: Tensor, product: Tensor, *, count: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the same without a pass (Ioffe and Szegedy 2015, arXiv:1502.03167, section 3).

        Args:
            total: Sum of the gradient after the norm over each map, (N, C).
            product: Sum of that gradient times the norm's input, (N, C).
            count: N·H·W.

        Returns:
            Slope and offset of the input's gradient, scale · grad + slope · x + offset, and the gradients of
            weight and bias; each (C,).
        """
        of_bias = total.sum(0)
        of_weight = (product - self.mean * total).sum(0) * self.invstd
        if not self.norm.batch:
            zero = torch.zeros_like(of_bias)
            return zero, zero, of_weight, of_bias
        slope = self.scale * self.invstd * of_weight / -count
        offset = self.scale * of_bias / -count - slope * self.mean
        return slope, offset, of_weight, of_bias
