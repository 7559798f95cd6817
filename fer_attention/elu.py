"""ELU from vectorised operators.

PyTorch computes ELU with `expm1`. On CPUs with AVX-512 that can take ten times as long as `exp`, and more
than half of a network's time. For 0 ≤ alpha ≤ 1, ELU is max(x, alpha · (exp(min(x, 0)) - 1)). The result
differs by no more than the rounding of numbers near 1, 6e-8 in float32. Half precision is computed in float32
and rounded once, as PyTorch does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_attention.eager import why_not_eager

PART = 2**16
"""Values that a thread processes at a time, so that the temporary tensor stays in its cache."""

_ONES = {  # in the type that values of each type are computed in
    dtype: torch.ones((), dtype=torch.float64 if dtype == torch.float64 else torch.float32, device="cpu")
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)
}
_derivative: Any = torch.ops.aten.elu_backward.default


def elu_(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Apply ELU in place, without recording gradients.

    >>> elu_(torch.tensor([-1.0, 0.0, 2.0])).tolist()
    [-0.6321205496788025, 0.0, 2.0]
    """
    one = _ONES.get(x.dtype)
    if one is None or x.device.type != "cpu" or not 0 <= alpha <= 1:
        return F.elu_(x, alpha)
    for part in _parts(x) if x.numel() > PART else (x,):
        # the derivative of ELU is exp(min(x, 0)), and its operator computes that in one pass
        low = _derivative(one, 1, 1, 1, False, part.to(one.dtype)).sub_(1)
        low = low if alpha == 1 else low.mul_(alpha)
        torch.maximum(part, low.to(x.dtype), out=part)
    return x


def _parts(x: Tensor) -> Sequence[Tensor]:
    """Split a large dense tensor."""
    size = PART * torch.get_num_threads()
    if x.is_contiguous():
        return torch.split(x.view(-1), size)
    if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return torch.split(x.permute(0, 2, 3, 1).view(-1), size)
    return (x,)


class ELU(nn.ELU):
    """`torch.nn.ELU` with the function above wherever single operators do not matter.

    On GPUs, and for compilers, exporters, tracers and transforms it is `torch.nn.ELU`.

    >>> ELU()(torch.tensor([-1.0, 2.0])).tolist()
    [-0.6321205496788025, 2.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply ELU to a tensor of any shape."""
        if not 0 <= self.alpha <= 1 or not _eager(x):
            return super().forward(x)
        if torch.is_grad_enabled() and x.requires_grad:
            return _ELU.apply(x, self.alpha, self.inplace)
        return elu_(x if self.inplace else x.clone(), self.alpha)


class _ELU(torch.autograd.Function):
    """ELU with PyTorch's backward pass, which reads the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        y = elu_(x if inplace else x.clone(), alpha)
        ctx.alpha = alpha
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        [y] = ctx.saved_tensors
        return _derivative(grads[0], ctx.alpha, 1, 1, True, y), None, None


def _eager(x: Tensor) -> bool:
    """Return whether a call may use other operators than `torch.nn.ELU` does."""
    return (
        type(x) in (Tensor, nn.Parameter)
        and x.device.type == "cpu"
        and x.dtype in _ONES
        and why_not_eager() is None
    )
