"""When a fused block may stand in for the plain modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import _get_current_dispatch_mode

from fer_attention.attention.fused import aten, cuda

Implementation: TypeAlias = Literal["auto", "plain", "fused"]

DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}
"""Types that the passes compute in; float16 on a CPU is left to the plain modules."""

SMALL = 2**18
"""On a CPU the fused step does not pay below about so many values: 12×12 maps of 256 channels, batch 8."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

CUDA_CAPABILITY = (7, 0)
"""The oldest GPUs that Triton compiles for."""

_plain_only: ContextVar[bool] = ContextVar("plain_only", default=False)


@contextmanager
def plain_modules() -> Iterator[None]:
    """Every block in this context runs its plain modules."""
    token = _plain_only.set(True)
    try:
        yield
    finally:
        _plain_only.reset(token)


def kernels_for(x: Tensor) -> ModuleType | None:
    """The passes for this tensor's device and type; None if there are none."""
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
    """Why the plain modules have to run, in a few words; None if the fused block may.

    The fused block is one step of its own for autograd, which calls no module. So it stands back wherever
    somebody looks at the single operators or modules: compilers and exporters (a compiler fuses the plain
    operators itself), hooks, tracing, `torch.func`, forward-mode derivatives, and dispatch modes such as
    counters of operations. `modules` are those that would not be called.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return "the model is being compiled or traced"
    if implementation == "plain" or _plain_only.get():
        return "plain modules were asked for"
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
    if torch.onnx.is_in_onnx_export():
        return "the model is being exported"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a torch.func transform is at work"
    if _get_current_dispatch_mode() is not None:
        return "a dispatch mode is at work"
    if forward_ad._current_level >= 0:
        return "forward-mode derivatives are at work"
    if _watched(modules):
        return "a module has hooks or is compiled by itself"
    if kernels_for(x) is None:
        return f"there is no fused block for {str(x.dtype).removeprefix('torch.')} on {x.device.type}"
    return None


def _watched(modules: Iterable[nn.Module | None]) -> bool:
    """Return whether one of these modules has hooks, global ones among them, or was compiled by itself."""
    return any(getattr(module_hooks, f"_global{kind}") for kind in HOOKS) or any(
        module._compiled_call_impl is not None or any(getattr(module, kind) for kind in HOOKS)
        for module in modules
        if module is not None
    )
