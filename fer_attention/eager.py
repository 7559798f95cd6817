"""Check for eager execution, in which code may call other operators than PyTorch's modules would."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode


def why_not_eager() -> str | None:
    """Return a short reason why single operators matter here; None in plain eager code.

    They matter to compilers, exporters, tracers, `torch.func`, forward-mode derivatives, and dispatch modes
    such as counters of operations.

    >>> why_not_eager() is None
    True
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return "the model is being compiled or traced"
    if torch.onnx.is_in_onnx_export():
        return "the model is being exported"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a torch.func transform is active"
    if _get_current_dispatch_mode() is not None:
        return "a dispatch mode is active"
    if forward_ad._current_level >= 0:
        return "forward-mode derivatives are active"
    return None
