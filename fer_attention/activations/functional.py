"""Find activations that a model calls as functions (`F.relu(x)`, `x.relu_()`), which cannot be replaced."""

from __future__ import annotations

import copy
import random
from collections import OrderedDict
from typing import Any

import torch
from timm.layers import get_notrace_functions, is_notrace_module
from torch import fx, nn

from fer_attention.activations.registry import ACTIVATIONS
from fer_attention.activations.tree import Scope, activation_classes, classes_of, is_gate

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def functional_calls(model: nn.Module, classes: frozenset[type[nn.Module]], scope: Scope) -> list[str]:
    """Return where functions equivalent to `classes` are called, such as `"F.relu in layer1.0"`.

    The forward code is traced with torch.fx. If that fails (control flow on values), the calls before the
    failure are found, and the children are traced one by one. The model, its hooks and the random state do
    not change, since a copy without weights is traced.

    The copy is in training mode, which runs auxiliary heads, too. Scope `"backbone"` omits calls inside
    attention gates.
    """
    functions = {c.__name__.lower() for c in classes} | {n for n in ACTIVATIONS if classes & classes_of(n)}
    functions |= {f"{function}_" for function in functions}
    closed = classes | activation_classes()
    found: dict[str, None] = {}  # an ordered set
    pending = [("", model)]
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        while pending:
            path, module = pending.pop(0)
            tracer = _CallTracer(functions, closed, scope)
            try:
                tracer.trace(_skeleton(module).train())
                inner = [(name, module.get_submodule(name)) for name in tracer.opaque]
            except Exception:  # forward code may raise anything when it gets proxies instead of tensors
                inner = [(name, child) for name, child in module.named_children() if not tracer.skips(child)]
            finally:
                random.setstate(state)
            prefix = f"{path}." if path else ""
            pending += [(f"{prefix}{name}", child) for name, child in inner]
            for inner_path, function in tracer.calls:
                found[f"{function} in {f'{prefix}{inner_path}'.rstrip('.') or type(model).__name__}"] = None
    return list(found)


class _CallTracer(fx.Tracer):
    """Record calls of some functions during the trace, so that a failed trace leaves those before it."""

    def __init__(self, functions: set[str], closed: frozenset[type[nn.Module]], scope: Scope) -> None:
        closed_functions: list[Any] = get_notrace_functions()
        super().__init__(autowrap_functions=tuple(f for f in closed_functions if callable(f)))
        self.calls: list[tuple[str, str]] = []
        self.opaque: list[str] = []
        self._functions = functions
        self._closed = closed
        self._scope = scope
        self._paths = [""]

    def skips(self, module: nn.Module) -> bool:
        """Return whether calls inside the module are ignored: it is an activation or a gate out of scope."""
        return type(module) in self._closed or (self._scope == "backbone" and is_gate(module))

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if self.skips(m) or super().is_leaf_module(m, module_qualified_name):
            return True
        if is_notrace_module(type(m)):
            self.opaque.append(module_qualified_name)
            return True
        return False

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self._paths.append(self.path_of_module(m))
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self._paths.pop()

    def create_node(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        if kind == "call_method" and target in self._functions:
            self.calls.append((self._paths[-1], f"Tensor.{target}"))
        elif kind == "call_function" and (name := getattr(target, "__name__", "")) in self._functions:
            owner = "F" if "nn" in str(target.__module__) else "torch"
            self.calls.append((self._paths[-1], f"{owner}.{name}"))
        return super().create_node(kind, target, *args, **kwargs)


def _skeleton(module: nn.Module) -> nn.Module:
    """Copy a module to the meta device without hooks, since traced code may write buffers and call hooks."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        for buffer in part.buffers(recurse=False):
            memo[id(buffer)] = buffer.detach().to("meta")
        for hooks in HOOKS:
            memo[id(getattr(part, hooks))] = OrderedDict()
    return copy.deepcopy(module, memo)
