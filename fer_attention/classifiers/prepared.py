"""A copy of a model for inference in float32 on a CPU: the same answers in less time.

The copy is a flat graph (torch.fx) on channels-last maps. Batch norms are folded into the convolutions before
them, a convolution is one call of oneDNN with weights in oneDNN's own layout, and activations and sums
overwrite maps that nobody else reads. PyTorch's `Conv2d` does not use oneDNN at all for a single small image
on one thread.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from fer_attention.attention.fused.choice import SMALL, hooked
from fer_attention.attention.fusible import FusibleGate
from fer_attention.elu import ELU, elu_

TOLERANCE = 1e-5
"""Largest difference between the logits of model and copy, relative to logits above 1."""


_tracing = threading.Lock()  # two threads that trace would restore each other's replacement


class PreparedModel:
    """The inference graph of a model, and the state of the model that it was made from.

    Args:
        model: A model in float32 on a CPU, which is copied.
        example: A batch of images (N, C, H, W). The weights are laid out for its size, but any batch works.

    Attributes:
        graph: The graph; None if torch.fx cannot trace the model, or the graph differs from it.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self._modules = list(model.modules())
        self._children = [(m._modules, list(m._modules.values())) for m in self._modules if m._modules]
        self._tensors = [
            (tensors, name, tensor, tensor._version)
            for module in self._modules
            for tensors in (module._parameters, module._buffers)
            for name, tensor in tensors.items()
            if tensor is not None
        ]
        self.graph: fx.GraphModule | None = None
        network = deepcopy(model).eval().requires_grad_(False)
        with torch.inference_mode(False), torch.no_grad():
            expected, sizes = _run(network, example)
            try:
                graph = _Preparation(network, sizes).graph_module
                apart = (graph(_channels_last(example)) - expected).abs().max()
            except Exception:  # forward code may raise anything when it gets proxies instead of tensors
                return
        if apart <= TOLERANCE * max(1.0, float(expected.abs().max())):
            self.graph = graph

    @staticmethod
    def suits(model: nn.Module) -> bool:
        """Return whether a model is one to prepare: float32 on a CPU, without hooks, with usual tensors."""
        tensors = [*model.parameters(), *model.buffers()]
        return not hooked(model.modules()) and all(
            tensor.device.type == "cpu"
            and not tensor.is_inference()  # they do not count changes
            and (tensor.dtype == torch.float32 or not tensor.is_floating_point())
            for tensor in tensors
        )

    def is_current(self) -> bool:
        """Return whether the model still has the same modules and weights, and no hooks."""
        return (
            not hooked(self._modules)
            and all(list(known.values()) == children for known, children in self._children)
            and all(
                known.get(name) is tensor and tensor._version == version
                for known, name, tensor, version in self._tensors
            )
        )

    def logits(self, x: Tensor) -> Tensor:
        """Compute logits (N, classes) of images (N, C, H, W)."""
        if self.graph is None:
            raise ValueError("The model could not be prepared.")
        return self.graph(_channels_last(x))


def _channels_last(x: Tensor) -> Tensor:
    """Return the images with strides that say channels-last; with one channel both formats are the same."""
    n, c, h, w = x.shape
    if c > 1:
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous().as_strided((n, c, h, w), (h * w, 1, w, 1))


def _run(network: nn.Module, example: Tensor) -> tuple[Tensor, dict[nn.Module, list[int]]]:
    """Return the logits of an example, and the shape of each convolution's input."""
    sizes: dict[nn.Module, list[int]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sizes[module] = list(inputs[0].shape)

    convolutions = [module for module in network.modules() if type(module) is nn.Conv2d]
    handles = [module.register_forward_pre_hook(note) for module in convolutions]
    logits = network(example)
    for handle in handles:
        handle.remove()
    return logits, sizes


class _Tracer(fx.Tracer):
    """Keep our ELU and timm's norms whole, and leave the calls of other threads alone.

    While torch.fx traces, it replaces `nn.Module.__call__` for all threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (BatchNormAct2d, ELU)) or super().is_leaf_module(m, module_qualified_name)


class _Preparation:
    """Rewrite the graph of a network, node by node in the order of execution."""

    def __init__(self, network: nn.Module, sizes: dict[nn.Module, list[int]]) -> None:
        with _tracing:
            self.graph = _Tracer().trace(network)
        self.graph_module = fx.GraphModule(network, self.graph)
        self.sizes = sizes
        self.fresh: set[fx.Node] = set()  # maps that only their users read
        for node in list(self.graph.nodes):
            if not node._erased:
                self._rewrite(node)
        self.graph.eliminate_dead_code()
        self.graph_module.delete_all_unused_submodules()
        self.graph_module.recompile()

    def _module(self, node: fx.Node | None, *kinds: type[nn.Module]) -> Any:
        """Return the module that a node calls if it is exactly of one of these classes, else None."""
        if node is None or node.op != "call_module":
            return None
        module = self.graph_module.get_submodule(str(node.target))
        return module if type(module) in kinds else None

    def _rewrite(self, node: fx.Node) -> None:
        if node.op == "call_function" and node.target is operator.add:
            self._sum_in_place(node)
        if node.op != "call_module":
            return
        module = self.graph_module.get_submodule(str(node.target))
        if type(module) is nn.Conv2d and module in self.sizes and module.padding_mode == "zeros":
            self._convolution(node, module)
        elif type(module) is BatchNormAct2d and _usual(module):
            self._norm(node, module)
        elif type(module) in (nn.ELU, ELU) and module.inplace:
            self._replace(node, elu_, (node.args[0], module.alpha))
        elif isinstance(module, FusibleGate):
            self._gate(node, module)
        elif type(module) in (nn.Identity, nn.Dropout):
            self._drop(node, node.args[0])

    def _convolution(self, node: fx.Node, conv: nn.Conv2d) -> None:
        """Fold the norm behind a convolution into it, and ReLU; then call oneDNN."""
        mkldnn: Any = torch.backends.mkldnn
        if isinstance(conv.padding, str) or not mkldnn.is_available():
            return
        weight, bias, activation = conv.weight, conv.bias, "none"
        follower = _only_user(node)
        norm = self._module(follower, nn.BatchNorm2d, BatchNormAct2d)
        if follower is not None and norm is not None and _usual(norm):
            weight, bias = fuse_conv_bn_weights(
                weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            act = norm.act if type(norm) is BatchNormAct2d else nn.Identity()
            self._activation(follower, act, node)
        follower = _only_user(node)
        if follower is not None and self._module(follower, nn.ReLU) is not None:
            activation = "relu"
            self._drop(follower, node)
        layout = list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups
        weight = weight.detach()
        kept_bias = None if bias is None else self._keep(node, "bias", bias.detach())
        x = node.args[0]
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *layout, self.sizes[conv])
        kept = self._keep(node, "weight", packed)
        call = torch.ops.mkldnn._convolution_pointwise.default
        new = self._replace(node, call, (x, kept, kept_bias, *layout, activation, [], ""))
        self.fresh.add(new)

    def _norm(self, node: fx.Node, norm: BatchNormAct2d) -> None:
        """Call the norm and its activation as functions."""
        names = ("weight", "bias", "running_mean", "running_var")
        with self.graph.inserting_before(node):
            tensors = [self.graph.get_attr(f"{node.target}.{name}") for name in names]
            arguments = (node.args[0], *tensors, False, 0.0, norm.eps, False)
            normalised = self.graph.call_function(torch.batch_norm, arguments)
        self._activation(node, norm.act, normalised)

    def _activation(self, node: fx.Node, act: nn.Module, of: fx.Node) -> None:
        """Replace a norm by its activation, applied to `of`."""
        if type(act) in (nn.ELU, ELU):
            self._replace(node, elu_, (of, act.alpha))
        elif type(act) is nn.Identity:
            self._drop(node, of)
        else:
            name = f"{str(node.target).replace('.', '_')}_activation"
            self.graph_module.add_submodule(name, act)
            self._replace(node, name, (of,))

    def _gate(self, node: fx.Node, gate: FusibleGate) -> None:
        """Compute a gate together with the sum behind it, and ReLU or ELU."""
        total = _only_user(node)
        if total is None or total.target is not operator.add or total.args[0] is not node:
            return
        follower = _only_user(total)
        act = self._module(follower, nn.ReLU, nn.ELU, ELU)
        name = f"{str(node.target).replace('.', '_')}_and_sum"
        self.graph_module.add_submodule(name, _GatedSum(gate, act))
        new = self._replace(total, name, (node.args[0], total.args[1]))
        if follower is not None and act is not None:
            self._drop(follower, new)
        self.graph.erase_node(node)

    def _sum_in_place(self, node: fx.Node) -> None:
        """Add to the output of a convolution that nothing else reads."""
        first, second = node.args
        if (
            first in self.fresh
            and first is not second
            and isinstance(first, fx.Node)
            and len(first.users) == 1
        ):
            node.target = operator.iadd

    def _keep(self, node: fx.Node, kind: str, tensor: Tensor) -> fx.Node:
        name = f"{str(node.target).replace('.', '_')}_{kind}"
        self.graph_module.register_buffer(name, tensor, persistent=False)
        with self.graph.inserting_before(node):
            return self.graph.get_attr(name)

    def _replace(self, node: fx.Node, target: Any, arguments: tuple[Any, ...]) -> fx.Node:
        make = self.graph.call_module if isinstance(target, str) else self.graph.call_function
        with self.graph.inserting_before(node):
            new = make(target, arguments)
        self._drop(node, new)
        return new

    def _drop(self, node: fx.Node, instead: Any) -> None:
        node.replace_all_uses_with(instead)
        self.graph.erase_node(node)


class _GatedSum(nn.Module):
    """act(gate(x) + shortcut), by the fused step or, on small maps, by the gate's plain modules."""

    def __init__(self, gate: FusibleGate, act: nn.Module | None) -> None:
        super().__init__()
        self.gate, self.act = gate, act

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        if x.numel() >= SMALL:
            return self.gate.residual(x, shortcut, act=self.act)
        y = self.gate.plain(x).add_(shortcut)
        return y if self.act is None else self.act(y)


def _only_user(node: Any) -> fx.Node | None:
    """Return the user of a node if there is exactly one."""
    [*users] = node.users
    return users[0] if len(users) == 1 else None


def _usual(norm: nn.BatchNorm2d) -> bool:
    """Return whether a norm uses running statistics, weight and bias, and drops nothing."""
    return (
        norm.running_mean is not None
        and norm.running_var is not None
        and norm.affine
        and type(getattr(norm, "drop", nn.Identity())) is nn.Identity
    )
