"""Decide when the fused step may replace the plain modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from fer_attention.attention.fused import aten, cuda
from fer_attention.eager import why_not_eager

Implementation: TypeAlias = Literal["auto", "plain", "fused"]

DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}
"""Types that the passes support; for float16 on a CPU the plain modules run."""

SMALL = 2**18
"""Values of a map below which the fused step is slower on a CPU: 12×12 maps of 256 channels, batch 8."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

CUDA_CAPABILITY = (7, 0)
"""Oldest GPUs that Triton supports."""

_plain_only: ContextVar[bool] = ContextVar("plain_only", default=False)


@contextmanager
def plain_modules() -> Iterator[None]:
    """Run the plain modules of every block within this context."""
    token = _plain_only.set(True)
    try:
        yield
    finally:
        _plain_only.reset(token)


def kernels_for(x: Tensor) -> ModuleType | None:
    """Return the module of passes for a map's device and type; None if there is none."""
    if x.dtype not in DTYPES.get(x.device.type, ()):
        return None
    if x.device.type == "cpu":
        return aten
    if not cuda.AVAILABLE or torch.cuda.get_device_capability(x.device) < CUDA_CAPABILITY:
        return None
    return cuda


def why_plain(
    implementation: Implementation,
    x: Tensor,
    shortcut: Tensor | None,
    modules: Iterable[nn.Module | None],
) -> str | None:
    """Return a short reason why the plain modules have to run; None if the fused step may.

    The fused step is a single node for autograd and calls no module. It is therefore not used where single
    operators or modules matter: for compilers and exporters (a compiler fuses the plain operators itself),
    hooks, tracing, `torch.func`, forward-mode derivatives, and dispatch modes such as counters of operations.

    Args:
        implementation: The block's option.
        x: Input of the block, (N, C, H, W).
        shortcut: The map to add, if any.
        modules: Modules that the fused step would not call.
    """
    if (reason := why_not_eager()) is not None:
        return reason
    if implementation == "plain" or _plain_only.get():
        return "the plain modules were requested"
    if type(x) not in (Tensor, nn.Parameter):
        return f"the input is a {type(x).__name__}"
    if not x.numel():
        return "the input is empty"
    if implementation == "auto" and x.device.type == "cpu" and x.numel() < SMALL:
        return "the map is small"
    if shortcut is not None and (
        (shortcut.shape, shortcut.dtype, shortcut.device) != (x.shape, x.dtype, x.device)
    ):
        return "the shortcut differs from the input in shape, type or device"
    if hooked(modules):
        return "a module has hooks or is compiled on its own"
    if kernels_for(x) is None:
        return f"there is no fused step for {str(x.dtype).removeprefix('torch.')} on {x.device.type}"
    return None


def hooked(modules: Iterable[nn.Module | None]) -> bool:
    """Return whether one of these modules has hooks, including global ones, or was compiled on its own."""
    for kind in HOOKS:
        if getattr(module_hooks, f"_global{kind}"):
            return True
    for module in modules:
        if module is None:
            continue
        state = module.__dict__
        if state.get("_compiled_call_impl") is not None:
            return True
        for kind in HOOKS:
            if state[kind]:
                return True
    return False
