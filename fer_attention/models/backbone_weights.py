"""Start from weights of others: fill everything but what they lack, the gates and often the classifier."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import timm
import torch
from timm.models import adapt_input_conv

from fer_attention.activations import create_activation
from fer_attention.bounded import bounded, cut
from fer_attention.models.base import FERModel
from fer_attention.models.state_dicts import StateDict, StateDictError, check_values, read_state_dict

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".t7", ".tar", ".pkl", ".h5", ".onnx", ".zip")
"""Suffixes of files; a source with another one that is not a file is taken for a name of timm."""

COUNTER = "num_batches_tracked"


def fill_backbone(model: FERModel, source: str | os.PathLike[str]) -> list[str]:
    """Copy a state dict of timm, torchvision or a checkpoint into a model, in place.

    A file may be a PyTorch checkpoint of any age and suffix (`.pth`, `.pth.tar`, `.ckpt`, `.t7`) or a
    safetensors file. The state dict may be nested in it (`{"net": …, "acc": 70}`) and its names may have
    prefixes (`module.`, `backbone.`, `_orig_mod.`). Counters of batches may be missing. No code in it is run.

    Activations with weights, gates that the source lacks, and a classifier of another shape stay as they are
    initialised. Gates of timm's SE- and ECA-ResNets fit ours. The first convolution is adapted to the model's
    input channels as in timm: for grey, it is summed over RGB. The fully connected head of a VGG for another
    input size stays as initialised, with a warning.

    The pools of our VGGs round up and those of timm and torchvision round down, so that a 48×48 face leaves a
    2×2 map instead of 1×1. With the same weights, maps and logits are equal only at multiples of 32 pixels.

    >>> fill_backbone(model, "resnet50.a1_in1k")  # doctest: +SKIP
    ['fc.bias', 'fc.weight', 'layer1.0.attn.conv.weight', ...]

    Args:
        model: The model to fill.
        source: A timm model name with pretrained weights (`"resnet50.a1_in1k"`), or the path of a file with
            the weights of this backbone.

    Returns:
        Names of the tensors that were not filled, sorted.

    Raises:
        ValueError: The source has another architecture, is damaged, contains NaN or Python objects, or is
            neither a file nor a timm name. Nothing has been filled; the message names what is missing and
            what is left over.
    """
    own = model.state_dict()
    state = _renamed(_state_dict(source, model), model)
    first = f"{model.first_conv}.weight"
    if first in state and state[first].ndim == 4:
        state[first] = _adapted(state[first], model.in_chans)
    gates = {name for name in own if "attn" in name.split(".")}
    fresh = _activation_weights(model) | (gates if gates.isdisjoint(state) else set())
    fresh |= {name for name in own.keys() - state.keys() if name.endswith(f".{COUNTER}")}
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
    wanted = {name: tensor for name, tensor in own.items() if name not in fresh}
    if misfits := _misfits(filled, wanted):
        raise ValueError(
            f"{source} does not fit {model.spec.name} (stem={model.spec.stem!r}, width={model.spec.width}): "
            f"{misfits}."
        )
    model.load_state_dict(filled, strict=False)
    return sorted(name for name in fresh & own.keys() if name in gates or not name.endswith(f".{COUNTER}"))


def _misfits(filled: StateDict, wanted: StateDict) -> str:
    """Describe what the source lacks, what is left over and what has another shape; empty if all fits."""
    if wanted and not filled.keys() & wanted.keys():
        return f"they share no name; it has {_some(filled)}, the model {_some(wanted)}"
    other = [
        f"{name} is {_shape(filled, name)}, expected {_shape(wanted, name)}"
        for name in sorted(_other_shape(filled, wanted))
    ]
    parts = {
        "missing": _some(wanted.keys() - filled.keys()),
        "left over": _some(filled.keys() - wanted.keys()),
        "of another shape": _some(other, limit=200),
    }
    return "; ".join(f"{what}: {names}" for what, names in parts.items() if names)


def _some(names: Iterable[str], *, limit: int = 80) -> str:
    names = sorted(names)
    shown = ", ".join(cut(name, limit) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _state_dict(source: str | os.PathLike[str], model: FERModel) -> StateDict:
    path, name = Path(source), str(source)
    suffix = path.suffix.lower()
    known = timm.is_model_pretrained(name)
    if os.path.isfile(path) or (not known and (suffix in SUFFIXES or len(path.parts) > 1)):
        try:
            return read_state_dict(path)
        except StateDictError as error:
            raise ValueError(f"backbone_weights: {source} {error}{_near(path)}") from error
    if not known:
        near = timm.list_pretrained(f"{model.spec.backbone}.*")
        raise ValueError(
            f"backbone_weights: {bounded(name)} is neither a weights file nor a pretrained model of timm. "
            f"For {model.spec.backbone} timm has: {', '.join(near) or 'none'}."
        )
    state = dict(timm.create_model(name, pretrained=True).state_dict())
    check_values(state)
    return state


def _near(path: Path) -> str:
    if os.path.exists(path) or not os.path.isdir(path.parent):
        return ""
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
    return f" Did you mean {str(path.with_name(near[0]))!r}?" if near else ""


def _adapted(weight: torch.Tensor, in_chans: int) -> torch.Tensor:
    """Adapt the first convolution to other input channels, where timm can."""
    try:
        return adapt_input_conv(in_chans, weight) if weight.shape[1] != in_chans else weight
    except (
        NotImplementedError,
        AssertionError,
    ):  # from other channels than RGB; the shapes are compared later
        return weight


def _renamed(state: StateDict, model: FERModel) -> StateDict:
    """Give the tensors of a source the model's names: no prefix, timm's layers, `attn` for gates."""
    known, renamed = model.state_dict(), {}
    for name, tensor in _as_in_timm(_without_prefix(state, model)).items():
        gate = name.replace(".se.", ".attn.")  # as timm's SE- and ECA-ResNets call it
        if gate in known or not name.endswith(COUNTER):
            renamed[gate if gate in known else name] = tensor
    return renamed


def _without_prefix(state: StateDict, model: FERModel) -> StateDict:
    """Strip the prefixes of wrappers (`module.`, `backbone.`, `_orig_mod.`), alone or nested.

    What lies outside the prefix, such as a projection head, is dropped with a warning.
    """
    first = f"{model.first_conv}.weight"
    names = {name for name in model.state_dict() if not name.endswith(COUNTER) and "attn" not in name}
    if first in state:
        return state
    prefixes = [name.removesuffix(first) for name in state if name.endswith(f".{first}")]
    found = [prefix for prefix in prefixes if 2 * sum(prefix + name in state for name in names) > len(names)]
    if not found:
        return state
    if len(found) > 1:
        several = _some(prefix.rstrip(".") for prefix in found)
        raise ValueError(
            f"backbone_weights: the file contains several networks: {several}. Save one of them alone."
        )
    inside = {
        name.removeprefix(found[0]): tensor for name, tensor in state.items() if name.startswith(found[0])
    }
    if len(inside) < len(state):
        outside = [name for name in state if not name.startswith(found[0])]
        prefix = cut(found[0], 60)
        warnings.warn(
            f"Only the weights below {prefix!r} were used; left over: {_some(outside)}.", stacklevel=5
        )
    return inside


def _as_in_timm(state: StateDict) -> StateDict:
    """Convert the linear layers of torchvision's VGG to timm's convolutions, and nothing else.

    The first hidden layer reads a map of 7×7 positions, the second one position.
    """
    layers = {f"classifier.{number}.{part}" for number in (0, 3, 6) for part in ("weight", "bias")}
    if not layers <= state.keys() or state["classifier.0.weight"].shape[-1] % 49:
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


def _shape(state: StateDict, name: str) -> str:
    return str(tuple(state[name].shape)) if name in state else "absent"


def _other_shape(a: StateDict, b: StateDict) -> set[str]:
    return {name for name in a.keys() & b.keys() if a[name].shape != b[name].shape}
