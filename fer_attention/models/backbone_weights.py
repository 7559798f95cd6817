"""Start from timm's ImageNet weights: fill everything but the gates."""

from __future__ import annotations

import warnings
from pathlib import Path

import timm
import torch
from timm.models import adapt_input_conv, load_state_dict

from fer_attention.activations import create_activation
from fer_attention.models.base import FERModel


def fill_backbone(model: FERModel, source: str) -> list[str]:
    """Copy a state dict of timm or torchvision into a model, in place.

    Gates, activations with weights and a classifier of another shape stay as they are initialised. The first
    convolution is adapted to the model's input channels as in timm: for grey, it is summed over RGB. The
    fully connected head of a VGG for another input size stays as initialised, with a warning. State dicts of
    torchvision's ResNets and VGGs are accepted as well.

    The pools of our VGGs round up and those of timm and torchvision round down, so that a 48×48 face leaves a
    2×2 map instead of 1×1. With the same weights, maps and logits are equal only at multiples of 32 pixels.

    >>> fill_backbone(model, "resnet50.a1_in1k")  # doctest: +SKIP
    ['fc.bias', 'fc.weight', 'layer1.0.attn.conv.weight', ...]

    Args:
        model: The model to fill.
        source: A timm model name with pretrained weights (`"resnet50.a1_in1k"`), or the path of a
            `.safetensors` or `.pth` file with the state dict of timm's or torchvision's model.

    Returns:
        Names of the tensors that were not filled, sorted.

    Raises:
        ValueError: The source has another architecture, or is neither a file nor a timm name.
    """
    state = _as_in_timm(_state_dict(source, model))
    first = f"{model.first_conv}.weight"
    if first in state:
        state[first] = adapt_input_conv(model.in_chans, state[first])
    own = model.state_dict()
    fresh = {name for name in own if "attn" in name.split(".")} | _activation_weights(model)
    if _shape(state, f"{model.classifier}.weight") != _shape(own, f"{model.classifier}.weight"):
        fresh |= {name for name in own.keys() | state.keys() if name.startswith(f"{model.classifier}.")}
    hidden = {name for name in own.keys() | state.keys() if name.startswith(f"{model.hidden_layers}.")}
    if not hidden & own.keys():  # head="gap"
        fresh |= hidden
    refitted = hidden & _other_shape(state, own)
    if refitted:
        warnings.warn(
            f"{', '.join(sorted(refitted))} stay as initialised: {source} was trained for another input size "
            f"than {model.spec.img_size}. head='gap' has no such layers.",
            stacklevel=3,
        )
        fresh |= refitted
    filled = {name: tensor for name, tensor in state.items() if name not in fresh}
    if misfits := [
        f"{name}: {_shape(filled, name)} in the source, {_shape(own, name)} in the model"
        for name in sorted(filled.keys() ^ (own.keys() - fresh) | _other_shape(filled, own))
    ]:
        raise ValueError(
            f"{source} does not fit {model.spec.name} (stem={model.spec.stem!r}, width={model.spec.width}): "
            f"{'; '.join(misfits[:3])}{f'; and {len(misfits) - 3} more' if len(misfits) > 3 else ''}."
        )
    model.load_state_dict(filled, strict=False)
    return sorted(fresh & own.keys())


def _state_dict(source: str, model: FERModel) -> dict[str, torch.Tensor]:
    if Path(source).suffix in (".safetensors", ".pth", ".pt", ".bin"):
        if not Path(source).is_file():
            raise ValueError(f"backbone_weights: {source} is not a file.")
        try:
            return dict(load_state_dict(source, weights_only=True))
        except Exception as error:  # torch's and safetensors' readers have no common error class
            raise ValueError(f"backbone_weights: {source} cannot be read: {error}") from error
    if not timm.is_model_pretrained(source):
        near = timm.list_pretrained(f"{model.spec.backbone}.*")
        raise ValueError(
            f"backbone_weights: {source!r} is neither a weights file nor a pretrained model of timm. "
            f"For {model.spec.backbone} timm has: {', '.join(near) or 'none'}."
        )
    return dict(timm.create_model(source, pretrained=True).state_dict())


def _as_in_timm(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert the linear layers of torchvision's VGG to timm's convolutions, and nothing else.

    The first hidden layer reads a map of 7×7 positions, the second one position.
    """
    if "classifier.6.weight" not in state:
        return state
    converted = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    for theirs, ours, side in (("0", "pre_logits.fc1", 7), ("3", "pre_logits.fc2", 1)):
        weight = state[f"classifier.{theirs}.weight"]
        converted[f"{ours}.weight"] = weight.reshape(len(weight), -1, side, side)
        converted[f"{ours}.bias"] = state[f"classifier.{theirs}.bias"]
    for part in ("weight", "bias"):
        converted[f"head.fc.{part}"] = state[f"classifier.6.{part}"]
    return converted


def _activation_weights(model: FERModel) -> set[str]:
    """Return the names of the weights inside activations (PReLU), which ReLU networks lack."""
    kind = type(create_activation(model.spec.activation))
    return {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if type(module) is kind
        for name, _ in module.named_parameters()
    }


def _shape(state: dict[str, torch.Tensor], name: str) -> str:
    return str(tuple(state[name].shape)) if name in state else "absent"


def _other_shape(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in a.keys() & b.keys() if a[name].shape != b[name].shape}
