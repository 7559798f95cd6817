"""Costs of a model by counting: parameters, multiply-accumulates, activations.

`paper_parameters` counts by the convention of Miskow and Altahhan 2022 (arXiv:2410.17740), which differs
from what a model of theirs holds; docs/paper.md says why.
"""

from __future__ import annotations

import math
import re
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fer_attention.attention import AttentionGate
from fer_attention.inference import evaluation_mode
from fer_attention.models import FERModel, ModelSpec
from fer_attention.models.factory import from_spec


@dataclass(frozen=True)
class Complexity:
    """Costs of a model for one input.

    >>> complexity(nn.Conv2d(1, 2, 3, bias=False), input_size=(1, 5, 5))
    Complexity(parameters=18, macs=162, activations=18)

    Attributes:
        parameters: Learned numbers.
        macs: Multiply-accumulates of convolutions and linear layers, half of torch's FLOPs.
        activations: Output values of convolutions and linear layers.
    """

    parameters: int
    macs: int
    activations: int


def complexity(model: nn.Module, input_size: tuple[int, int, int] | None = None) -> Complexity:
    """Count the parameters and operations of a model for one input; on `meta` nothing is computed.

    >>> from fer_attention import create_model
    >>> cost = complexity(create_model("resnet18_eca", device="meta"))
    >>> f"{cost.parameters:,} parameters, {cost.macs / 1e6:.1f} M MACs"
    '11,173,867 parameters, 94.4 M MACs'

    Args:
        model: Any module that takes a batch of images.
        input_size: (C, H, W); for models of this library their own by default.

    Raises:
        ValueError: The model is not ours and no input size is given.
    """
    if input_size is None:
        if not isinstance(model, FERModel):
            raise ValueError(f"complexity({type(model).__name__}) needs input_size=(C, H, W).")
        input_size = model.spec.input_size
    activations = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    parameter = next(model.parameters())
    image = torch.zeros(1, *input_size, device=parameter.device, dtype=parameter.dtype)
    with ExitStack() as hooks, evaluation_mode(model), torch.inference_mode():
        for module in model.modules():
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
                hooks.callback(module.register_forward_hook(count).remove)
        with FlopCounterMode(display=False) as flops:
            model(image)
    parameters = sum(p.numel() for p in model.parameters())
    return Complexity(parameters, flops.get_total_flops() // 2, activations)


def paper_parameters(name: str) -> int:
    """Count parameters by the convention of the paper, for one grey 48×48 input and seven classes.

    All convolution and dense weights; dense biases; convolution biases, in ResNetV2 only those of the stem,
    the shortcuts and each block's last convolution; SE and CBAM with biases in their MLP; ECA as C·k weights
    with the kernel |log2(C) + 1/2| that the authors' code computes; no batch norm. It reproduces their
    tables but for the plain VGG-19, whose printed count cannot be.

    >>> paper_parameters("resnet50"), paper_parameters("resnet50_se")
    (23489543, 26020535)

    Args:
        name: A model name, such as `"resnet50_cbam_elu"`.

    Raises:
        ValueError: The paper has no such attention block or no such backbone, so no convention for it.
    """
    spec = ModelSpec.parse(name)
    if spec.attention not in ("none", "se", "eca", "cbam"):
        raise ValueError(
            f"The paper counts none, se, eca and cbam; it has no convention for {spec.attention!r}."
        )
    biased = spec.traits.paper_biases
    if biased is None:
        raise ValueError(f"The paper has no {spec.backbone}, so no convention for counting it.")
    plain = from_spec(ModelSpec(spec.backbone, activation=spec.activation), device="meta")
    gated = from_spec(ModelSpec(spec.backbone, attention="se", activation=spec.activation), device="meta")
    total = 0
    for path, module in plain.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            total += module.weight.numel() + (len(module.weight) if re.search(biased, path) else 0)
    gates = [module.channels for module in gated.modules() if isinstance(module, AttentionGate)]
    return total + sum(_gate_parameters(spec.attention, channels) for channels in gates)


def _gate_parameters(attention: str, channels: int) -> int:
    if attention == "none":
        return 0
    if attention == "eca":
        kernel = int(abs(math.log2(channels) + 0.5))
        return channels * (kernel if kernel % 2 else kernel + 1)
    hidden = channels // 16
    mlp = 2 * channels * hidden + hidden + channels
    return mlp if attention == "se" else mlp + 7 * 7 * 2 + 1
