"""The fused step as an autograd function."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from fer_attention.attention.fused.choice import plain_modules
from fer_attention.attention.fused.computation import BlockInputs, FusedStep, SavedTensors, backward, forward
from fer_attention.attention.fused.gates import Tensors
from fer_attention.attention.fused.inference import infer


def residual(
    step: FusedStep,
    x: Tensor,
    shortcut: Tensor | None,
    norm: tuple[Tensor, Tensor] | None,
    parameters: Tensors,
) -> Tensor:
    """Compute act(attention(norm(x)) + shortcut), (N, C, H, W) -> (N, C, H, W).

    `norm` holds weight and bias of the step's norm. Parameters are those of the channel gate, then the
    spatial gate's kernel. Second derivatives are supported, at the speed of the plain modules.
    """
    if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
        x = x.contiguous()
    inputs = BlockInputs(x, shortcut, *(norm or (None, None)))
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*inputs, *parameters)):
        y: Tensor = _Residual.apply(step, *inputs, *parameters)
        return y
    with _without_autocast(x):
        if x.device.type == "cpu":
            return infer(step, inputs, parameters)
        return forward(step, inputs, parameters, keep=False)[0]


class _Residual(torch.autograd.Function):
    """`residual` as a node of autograd; its inputs are the step, the four `BlockInputs`, the parameters."""

    @staticmethod
    def forward(ctx: Any, step: FusedStep, *tensors: Any) -> Tensor:
        inputs, parameters = BlockInputs(*tensors[:4]), tensors[4:]
        with _without_autocast(inputs.x):
            y, saved, of_channel = forward(step, inputs, parameters, keep=True)
        ctx.step, ctx.parameters = step, len(parameters)
        ctx.has_shortcut = inputs.shortcut is not None
        kept = inputs._replace(shortcut=None)  # the derivative of a sum needs none of its terms
        ctx.save_for_backward(*kept, *parameters, *saved, *of_channel)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        step, tensors = ctx.step, list(ctx.saved_tensors)
        inputs, tensors = BlockInputs(*tensors[:4]), tensors[4:]
        parameters, tensors = tuple(tensors[: ctx.parameters]), tensors[ctx.parameters :]
        count = len(SavedTensors._fields)
        saved, of_channel = SavedTensors(*tensors[:count]), tuple(tensors[count:])
        if torch.is_grad_enabled():  # second derivatives may follow
            return None, *_differentiable(step, grads[0], inputs, parameters, saved, ctx.has_shortcut)
        needs_x = any(ctx.needs_input_grad[i] for i in (1, 3, 4))
        with _without_autocast(inputs.x):
            found = backward(step, grads[0], inputs, parameters, saved, of_channel, needs_x=needs_x)
        shortcut = found.shortcut if ctx.has_shortcut else None
        return None, found.x, shortcut, found.weight, found.bias, *found.parameters


def _without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def _differentiable(
    step: FusedStep,
    grad: Tensor,
    inputs: BlockInputs,
    parameters: Tensors,
    saved: SavedTensors,
    has_shortcut: bool,
) -> list[Tensor | None]:
    """Compute the gradients of all tensors by the plain modules, so that they are differentiable."""
    if saved.y is not None and step.activation.name == "relu":
        grad = torch.ops.aten.threshold_backward(grad, saved.y, 0)
    elif saved.y is not None:
        grad = torch.ops.aten.elu_backward(grad, step.activation.alpha, 1, 1, True, saved.y)
    x, norm = inputs.x, step.norm
    if norm is not None:
        statistics = (None, None) if norm.batch else (norm.mean, norm.variance)
        x = F.batch_norm(x, *statistics, inputs.weight, inputs.bias, norm.batch, eps=norm.eps)
    with plain_modules():
        gated = functional_call(step.block, dict(zip(step.names, parameters, strict=True)), (x,))
    tensors = [inputs.x, inputs.weight, inputs.bias, *parameters]
    wanted = [t for t in tensors if t is not None and t.requires_grad]
    found = iter(torch.autograd.grad(gated, wanted, grad, create_graph=True))
    of_x, *others = [next(found) if t is not None and t.requires_grad else None for t in tensors]
    return [of_x, grad if has_shortcut else None, *others]
