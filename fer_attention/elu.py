"""ELU from vectorised operators.

PyTorch computes ELU with `expm1`. On CPUs with AVX-512 that can take ten times as long as `exp`, and more
than half of a network's time. For 0 ≤ alpha ≤ 1, ELU is max(x, alpha · (exp(min(x, 0)) - 1)). The result
differs by no more than the rounding of numbers near 1: 6e-8 in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils._python_dispatch import _get_current_dispatch_mode

PART = 2**18
"""Values that are processed at a time, so that the temporary tensor stays in the cache."""

TRAINED = 2**14
"""Values of a map below which a call through autograd costs more than it saves."""


def elu_(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Apply ELU in place, without recording gradients.

    >>> elu_(torch.tensor([-1.0, 0.0, 2.0])).tolist()
    [-0.6321205496788025, 0.0, 2.0]
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or not 0 <= alpha <= 1:
        return F.elu_(x, alpha)
    step = PART * len(x) // max(1, x.numel()) if x.ndim else 0
    for part in torch.split(x, step) if 0 < step < len(x) else (x,):
        low = part.clamp_max(0).exp_().sub_(1)
        torch.maximum(part, low if alpha == 1 else low.mul_(alpha), out=part)
    return x


class ELU(nn.ELU):
    """`torch.nn.ELU` with the function above wherever single operators do not matter.

    On GPUs, in half precision, and for compilers, exporters, tracers and transforms it is `torch.nn.ELU`.

    >>> ELU()(torch.tensor([-1.0, 2.0])).tolist()
    [-0.6321205496788025, 2.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply ELU to a tensor of any shape."""
        if not _eager(x):
            return super().forward(x)
        if torch.is_grad_enabled() and x.requires_grad:
            if x.numel() < TRAINED or not 0 <= self.alpha <= 1:
                return super().forward(x)
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
        return torch.ops.aten.elu_backward(grads[0], ctx.alpha, 1, 1, True, y), None, None


def _eager(x: Tensor) -> bool:
    """Return whether a call may use other operators than `torch.nn.ELU` does."""
    return (
        type(x) in (Tensor, nn.Parameter)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and torch._C._functorch.peek_interpreter_stack() is None
        and _get_current_dispatch_mode() is None
        and forward_ad._current_level < 0
    )
