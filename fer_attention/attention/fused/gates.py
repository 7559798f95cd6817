"""Arithmetic of attention gates on pooled values, with explicit derivatives.

Each formula maps means and maxima to a scale in (0, ceiling), and has a backward pass, so that `function.py`
can run a whole block as one step. All of it is computed in float32 or wider, whatever the map's type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_attention.elu import ELU

Tensors = tuple[Tensor, ...]


class FusedActivation(NamedTuple):
    """Activation at the end of a residual block, as the passes implement it."""

    name: str = "identity"  # `"identity"`, `"relu"` or `"elu"`
    alpha: float = 1.0  # of ELU

    @classmethod
    def of(cls, module: nn.Module | None) -> FusedActivation | None:
        """Return the record of a module, the identity for None; None if the passes do not implement it."""
        if module is None:
            return cls()
        if type(module) is nn.ReLU:
            return cls("relu")
        if isinstance(module, nn.ELU) and type(module) in (nn.ELU, ELU):
            return cls("elu", module.alpha)
        return None


class BlockOutput(NamedTuple):
    """Output of a block, and intermediate results of its spatial gate; None if it has no such gate."""

    y: Tensor  # (N, C, H, W)
    pixels: Tensor | None  # mean and maximum of the gated map over its channels, (N, 2, H, W)
    spatial: Tensor | None  # scale (N, H, W)
    channel: Tensor | None  # first maximum of each pixel, (N, H, W); None if no gradient is needed


@dataclass(frozen=True)
class MLPFormula:
    """ceiling · sigmoid(W2 relu(W1 z + b1) + b2), summed over z = mean and maximum before the sigmoid.

    SE (Hu et al. 2018, eq. 3) reads only the mean and has biases; CBAM (Woo et al. 2018, eq. 2) reads both
    and has none. W2 is linear, so the hidden values are summed before it, which saves a product.

    Parameters: W1 (h, C, 1, 1), W2 (C, h, 1, 1); with biases W1, b1, W2, b2.
    """

    peak: bool
    bias: bool
    ceiling: float = 1.0

    def forward(
        self, mean: Tensor, peak: Tensor | None, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, Tensors]:
        """Compute the scale, (N, C), and the tensors that `backward` needs."""
        w1, b1, w2, b2 = self._unpack(parameters, mean.dtype)
        pooled = mean if peak is None else torch.cat([mean, peak])
        # (h, N): a few samples from the right are faster than a few from the left
        hidden = (w1 @ pooled.T if b1 is None else torch.addmm(b1[:, None], w1, pooled.T)).relu_().T
        summed = hidden if peak is None else hidden[: len(mean)] + hidden[len(mean) :]
        scale = _sigmoid_(F.linear(summed, w2, b2), self.ceiling)
        return scale, (pooled, hidden, summed, scale)

    def backward(
        self, grad: Tensor, saved: Tensors, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        """Return the gradients of mean, maximum and parameters."""
        pooled, hidden, summed, scale = saved
        w1, _, w2, _ = self._unpack(parameters, grad.dtype)
        grad_out = _through_sigmoid(grad, scale, self.ceiling)
        grad_summed = grad_out @ w2
        repeats = len(hidden) // max(len(summed), 1)
        grad_hidden = torch.ops.aten.threshold_backward(grad_summed.repeat(repeats, 1), hidden, 0)
        grad_pooled = grad_hidden @ w1
        grad_w1 = (grad_hidden.T @ pooled)[:, :, None, None]
        grad_w2 = (grad_out.T @ summed)[:, :, None, None]
        grads = (grad_w1, grad_hidden.sum(0), grad_w2, grad_out.sum(0)) if self.bias else (grad_w1, grad_w2)
        if not self.peak:
            return grad_pooled, None, grads
        grad_mean, grad_peak = grad_pooled.chunk(2)
        return grad_mean, grad_peak, grads

    def _unpack(
        self, parameters: Sequence[Tensor], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        if not self.bias:
            return parameters[0].to(dtype).flatten(1), None, parameters[1].to(dtype).flatten(1), None
        w1, b1, w2, b2 = (parameter.to(dtype) for parameter in parameters[:4])
        return w1.flatten(1), b1, w2.flatten(1), b2


@dataclass(frozen=True)
class NeighbourFormula:
    """ceiling · sigmoid(conv1d_k(mean)) over neighbouring channels: ECA (Wang et al. 2020, eq. 9).

    Parameters: the kernel (1, 1, k).
    """

    ceiling: float = 1.0
    peak: ClassVar[bool] = False

    def forward(
        self, mean: Tensor, peak: Tensor | None, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, Tensors]:
        """Compute the scale, (N, C), and the tensors that `backward` needs."""
        kernel = parameters[0].to(mean.dtype)
        scale = _sigmoid_(self._slide(mean, kernel), self.ceiling)
        return scale, (mean, scale)

    def backward(
        self, grad: Tensor, saved: Tensors, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None, Tensors]:
        """Return the gradients of mean and kernel; there is no maximum."""
        mean, scale = saved
        kernel = parameters[0].to(mean.dtype)
        grad_out = _through_sigmoid(grad, scale, self.ceiling)
        half = kernel.shape[2] // 2
        flat = F.pad(grad_out, (half, half)).flatten()
        grad_kernel = self._windows(mean, half) @ flat[half : len(flat) - half]
        return self._slide(grad_out, kernel.flip(2)).contiguous(), None, (grad_kernel.view_as(kernel),)

    def _slide(self, values: Tensor, kernel: Tensor) -> Tensor:
        """Slide the kernel over neighbouring channels, with zero padding: (N, C) -> (N, C)."""
        n, c = values.shape
        half = kernel.shape[2] // 2
        slid = kernel[0] @ self._windows(values, half)
        return slid.as_strided((n, c), (c + 2 * half, 1))

    @staticmethod
    def _windows(values: Tensor, half: int) -> Tensor:
        """View all samples in one row, zeros between them, shifted by 0 … 2·half: (k, length).

        A sliding kernel then is a product of a vector and a matrix, which for so few values is several times
        as fast as `conv1d`.
        """
        n, c = values.shape
        padded = values.new_zeros(n, c + 2 * half)
        padded[:, half : half + c] = values
        return padded.as_strided((2 * half + 1, padded.numel() - 2 * half), (1, 1))


ChannelFormula: TypeAlias = MLPFormula | NeighbourFormula
"""From each channel's mean, and maximum if `peak`, to its scale: (N, C) -> (N, C).

`forward` returns the scale and tensors for `backward`, which returns the gradients of mean, maximum and
parameters.
"""


def spatial_scale(pooled: Tensor, kernel: Tensor, ceiling: float) -> Tensor:
    """Compute ceiling · sigmoid(conv_k(pooled)) of each pixel's mean and maximum, (N, 2, H, W) -> (N, H, W).

    CBAM (Woo et al. 2018, eq. 3).
    """
    weight = kernel.to(pooled.dtype)
    return _sigmoid_(F.conv2d(pooled, weight, padding=weight.shape[-1] // 2), ceiling)[:, 0]


def spatial_scale_backward(
    grad: Tensor, pooled: Tensor, scale: Tensor, kernel: Tensor, ceiling: float
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the pixels' mean and maximum, (N, 2, H, W), and of the kernel."""
    grad_out = _through_sigmoid(grad, scale, ceiling)[:, None]
    weight = kernel.to(grad.dtype)
    half = weight.shape[-1] // 2
    # two forward convolutions: on one channel, backward convolutions take five times as long on a CPU
    grad_pooled = F.conv2d(grad_out, weight.flip(2, 3).transpose(0, 1), padding=half)
    grad_kernel = F.conv2d(pooled.transpose(0, 1), grad_out.transpose(0, 1), padding=half)
    return grad_pooled, grad_kernel.transpose(0, 1)


def _sigmoid_(logits: Tensor, ceiling: float) -> Tensor:
    scale = logits.sigmoid_()
    return scale if ceiling == 1 else scale.mul_(ceiling)


def _through_sigmoid(grad: Tensor, scale: Tensor, ceiling: float) -> Tensor:
    return grad * scale * (1 - scale / ceiling)
