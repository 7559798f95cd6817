"""Statistics of activation outputs by layer: mean (bias shift), variance, sign and gradient.

An activation with a non-zero mean acts as a bias on the next layer: the bias shift that ELU is meant to
reduce (Clevert et al. 2016, arXiv:1511.07289, section 3). Gradients that vanish from the last layer to the
first show that a deep network cannot learn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from fer_attention.activations.tree import activation_classes, references
from fer_attention.inference import evaluation_mode
from fer_attention.registry import unknown_name

Loss: TypeAlias = Callable[[Any, Any], torch.Tensor]


@dataclass(frozen=True)
class ActivationStatistics:
    """Output statistics of one call of one layer, over all batches.

    Attributes:
        layer: Dotted name of the layer, followed by `#1`, `#2`, … if a forward pass calls it repeatedly.
        kind: Class of the layer, such as `"ELU"`.
        mean: Mean over all elements: samples, channels and positions.
        variance: Their mean squared distance from `mean` (divided by `count`).
        fraction_negative: Share of the elements below zero.
        gradient_norm: Root mean square over the batches of the L2 norm of d loss / d output, for the output
            of a whole batch; None without a loss. With a loss that averages over samples it depends on the
            batch size, so compare values at equal batch sizes only.
        count: Number of elements.

    >>> [relu] = activation_statistics(nn.Sequential(nn.ReLU()), [torch.tensor([-1.0, 1.0])])
    >>> relu.kind, relu.mean, relu.variance, relu.fraction_negative
    ('ReLU', 0.5, 0.25, 0.0)
    """

    layer: str
    kind: str
    mean: float
    variance: float
    fraction_negative: float
    gradient_norm: float | None
    count: int


def activation_statistics(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    loss: Loss | None = None,
    layers: Iterable[str] | None = None,
) -> list[ActivationStatistics]:
    """Measure the output of each activation of a model, and the gradient that reaches it.

    The model runs in evaluation mode, so batch norm uses its running statistics. Its training mode,
    gradients (`.grad`), buffers and hooks and the random state are restored, also after an error. Means and
    variances are accumulated in float64 by the update of Chan et al. (1979), so that they do not depend on
    how the images are batched.

    Args:
        model: Any model that accepts images.
        batches: Image tensors (N, C, H, W) or, with `loss`, pairs (images, targets), on the model's device.
        loss: Function of logits and targets that returns a scalar, such as `nn.functional.cross_entropy`.
        layers: Dotted names of the layers to measure. The default is every registered activation of the
            backbone, that is, outside attention gates.

    Returns:
        One record per layer and call, in the order of the calls.

    Raises:
        UnknownNameError: The model has no layer of that name.
        ValueError: There are no batches or no layers, or a named layer is not called.
        TypeError: A batch does not fit `loss`, or the output of a layer is not a tensor.

    >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ELU(), nn.Flatten(), nn.Linear(8 * 36, 7))
    >>> batch = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
    >>> [act] = activation_statistics(model, [batch], loss=nn.functional.cross_entropy)
    >>> act.gradient_norm > 0
    True
    """
    watched = _watched_layers(model, layers)
    tallies: dict[tuple[str, int], _Tally] = {}
    batch_count = 0
    with evaluation_mode(model), torch.inference_mode(False), torch.set_grad_enabled(loss is not None):
        for batch in batches:
            images, targets = _images_and_targets(batch, loss)
            with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
                _run(model, images, targets, loss, watched, tallies)
            batch_count += 1
    if not batch_count:
        raise ValueError("batches is empty, or an exhausted iterator. Pass at least one batch of images.")
    if layers is not None and (idle := [name for name in watched if (name, 1) not in tallies]):
        raise ValueError(f"The model's forward does not call {', '.join(idle)}.")
    calls = Counter(name for name, _ in tallies)
    return [
        tally.summary(
            f"{name}#{call}" if calls[name] > 1 else name,
            type(watched[name]).__name__,
            batch_count if loss else None,
        )
        for (name, call), tally in tallies.items()
    ]


@dataclass
class _Tally:
    """Running sums over one layer's outputs."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # summed squared distances from the mean
    negatives: int = 0
    gradient_squares: float = 0.0

    def add(self, output: torch.Tensor) -> None:
        values = output.detach().double()
        variance, mean = (float(v) for v in torch.var_mean(values, correction=0))
        before, new = self.count, values.numel()
        self.count += new
        shift = mean - self.mean
        self.mean += shift * new / self.count
        self.squares += variance * new + shift**2 * before * new / self.count
        self.negatives += int((values < 0).sum())

    def add_gradient(self, gradient: torch.Tensor) -> None:
        self.gradient_squares += float(gradient.double().square().sum())

    def summary(self, layer: str, kind: str, batches: int | None) -> ActivationStatistics:
        shares = self.squares / self.count, self.negatives / self.count
        gradient_norm = None if batches is None else math.sqrt(self.gradient_squares / batches)
        return ActivationStatistics(layer, kind, self.mean, *shares, gradient_norm, self.count)


def _watched_layers(model: nn.Module, layers: Iterable[str] | None) -> dict[str, nn.Module]:
    watched: dict[str, nn.Module] = {}
    if layers is None:
        known = activation_classes()
        for reference in references(model, "backbone"):
            if type(reference.module) in known and reference.module not in watched.values():
                watched[reference.path] = reference.module
        missing = f"{type(model).__name__} has no activation modules outside attention gates"
    else:
        modules = dict(model.named_modules(remove_duplicate=False))
        modules.pop("")
        for name in layers:
            if name not in modules:
                raise unknown_name("layer", name, modules)
            watched[name] = modules[name]
        missing = "layers=[] names no layer"
    if not watched:
        raise ValueError(f"{missing}. Name those to measure: layers=['stages.0'].")
    return watched


def _images_and_targets(batch: Any, loss: Loss | None) -> tuple[torch.Tensor, Any]:
    images, targets = batch, None
    if loss is not None:
        paired = isinstance(batch, (tuple, list)) and len(batch) == 2
        images, targets = batch if paired else (None, None)
    if not isinstance(images, torch.Tensor):
        expected = (
            "image tensors, since there is no loss"
            if loss is None
            else "pairs (images, targets) for the loss"
        )
        raise TypeError(f"batches must contain {expected}; got {type(batch).__name__}.")
    if not images.numel():
        raise ValueError(f"A batch contains no images: its shape is {tuple(images.shape)}.")
    return images, targets


def _run(
    model: nn.Module,
    images: torch.Tensor,
    targets: Any,
    loss: Loss | None,
    watched: dict[str, nn.Module],
    tallies: dict[tuple[str, int], _Tally],
) -> None:
    calls: Counter[str] = Counter()

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, torch.Tensor):
                raise TypeError(f"Layer {name} returns a {type(output).__name__}, not a tensor.")
            calls[name] += 1
            tally = tallies.setdefault((name, calls[name]), _Tally())
            tally.add(output)  # at once, since a later layer may overwrite it
            if loss is not None:
                output.register_hook(tally.add_gradient)  # type: ignore[no-untyped-call]

        return hook

    leaf = (
        images.detach().clone().requires_grad_(loss is not None)
    )  # a tensor of inference mode has no gradient
    with ExitStack() as hooks:  # removed before the backward pass, in which checkpointing calls layers again
        for name, layer in watched.items():
            hooks.callback(layer.register_forward_hook(watch(name)).remove)
        output = model(leaf.clone())  # a leaf must not be overwritten by a first layer that works in place
    if loss is not None:
        torch.autograd.grad(loss(output, targets), leaf)  # fires the hooks and changes no .grad
