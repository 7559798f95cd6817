"""Models by name or by parts."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.types import Device

from fer_attention.emotions import FER2013
from fer_attention.models.backbone_weights import fill_backbone
from fer_attention.models.base import FERModel
from fer_attention.models.bundled import bundled_names, bundled_path
from fer_attention.models.family import BACKBONES
from fer_attention.models.spec import ModelSpec, listed_names
from fer_attention.models.weights import load_weights
from fer_attention.preprocessing import Preprocessing


def build_model(
    backbone: str,
    *,
    attention: str = "none",
    activation: str = "relu",
    num_classes: int = 7,
    in_chans: int = 1,
    img_size: int | tuple[int, int] = 48,
    stem: str = "imagenet",
    width: float = 1.0,
    attention_options: Mapping[str, Any] | None = None,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    global_pool: str = "avg",
    head: str | None = None,
    stride_on: str | None = None,
    backbone_weights: str | None = None,
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> FERModel:
    """A fresh model from its parts.

    `backbone` to `stride_on` are the fields of `ModelSpec`, which explains them. `backbone_weights` is a timm
    name with weights, such as `"resnet50.a1_in1k"` (from the hub), or a file of a timm state dict: it fills
    everything but the gates and a classifier of another size. `device="meta"` gives shapes alone.

    >>> build_model("resnet18", attention="cbam", attention_options={"reduction": 8}, device="meta").spec.name
    'resnet18_cbam'

    Raises:
        UnknownNameError: A name that is not registered; the nearest one is in the message.
        ValueError: A number out of range, an option that the backbone lacks, or weights that do not fit.
        TypeError: An unknown keyword, or an attention option that the block does not have.
    """
    spec = ModelSpec(
        backbone,
        attention=attention,
        activation=activation,
        num_classes=num_classes,
        in_chans=in_chans,
        img_size=img_size,
        stem=stem,
        width=width,
        attention_options=attention_options or {},
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
        global_pool=global_pool,
        head=head,
        stride_on=stride_on,
    )
    model = from_spec(spec, device=device, dtype=dtype)
    if backbone_weights is not None:
        fill_backbone(model, backbone_weights)
    return model


def from_spec(spec: ModelSpec, *, device: Device = None, dtype: torch.dtype | None = None) -> FERModel:
    """A fresh model of a spec. With seven classes, labels are FER2013's until they are set otherwise."""
    model = BACKBONES[spec.backbone](spec, device=device, dtype=dtype)
    if spec.num_classes == len(FER2013):
        model.labels = FER2013
    if spec.in_chans in (1, 3):
        grey = (0.5,) * spec.in_chans
        model.preprocessing = Preprocessing(spec.input_size[1:], spec.in_chans, mean=grey, std=grey)
    return model


def create_model(name: str, *, pretrained: bool = False, **structure: Any) -> FERModel:
    """A model by name: `create_model("resnetv2_50_cbam_elu", num_classes=7, in_chans=1, img_size=48)`.

    Args:
        name: `<backbone>[_<attention>][_<activation>]`, and for weights that come with the package a tag:
            `"resnetv2_18_eca_elu.fer2013"`. A tag settles the whole structure.
        pretrained: Load the bundled weights of this name.
        structure: Any other keyword of `build_model`. With a tag or `pretrained`, only `num_classes` (another
            number gives a fresh classifier), `drop_rate`, `drop_path_rate`, `device` and `dtype`.

    Raises:
        UnknownNameError: No such model, or no weights of this name; the nearest name is in the message.
        TypeError: An unknown keyword, or one that the weights settle already.
    """
    if named := sorted({"backbone", "attention", "activation"} & set(structure)):
        raise TypeError(f"The name {name!r} says {', '.join(named)} already; build_model() takes the parts.")
    if not pretrained and "." not in name:
        spec = ModelSpec.parse(name)
        return build_model(spec.backbone, attention=spec.attention, activation=spec.activation, **structure)
    free = {"num_classes", "drop_rate", "drop_path_rate", "device", "dtype"}
    if settled := sorted(set(structure) - free):
        raise TypeError(
            f"{name} settles {', '.join(settled)} by its weights; leave them out, or build a fresh model "
            f"with create_model({name.split('.')[0]!r}, ...)."
        )
    return _from_weights(name, pretrained=pretrained, **structure)


def _from_weights(
    name: str,
    *,
    pretrained: bool,
    num_classes: int | None = None,
    device: Device = None,
    dtype: torch.dtype | None = None,
    **rates: float,
) -> FERModel:
    model = load_weights(bundled_path(name))
    spec = replace(model.spec, **rates)  # type: ignore[arg-type]
    fresh = from_spec(spec)
    fresh.labels, fresh.preprocessing = model.labels, model.preprocessing
    if pretrained:
        fresh.load_state_dict(model.state_dict())
        fresh.record = model.record
    if num_classes is not None and num_classes != spec.num_classes:
        fresh.reset_classifier(num_classes)
    return fresh.to(device=device, dtype=dtype)


def list_models(pattern: str | None = None, *, pretrained: bool = False) -> list[str]:
    """Model names, sorted: every backbone × attention × {ReLU, ELU}, or those with bundled weights.

    Args:
        pattern: A shell wildcard such as `"*_cbam_elu"`.
        pretrained: Give `<name>.<tag>` of the weights that come with the package.

    >>> list_models("vgg16_cbam*")
    ['vgg16_cbam', 'vgg16_cbam_elu']
    """
    names = bundled_names() if pretrained else listed_names()
    return names if pattern is None else fnmatch.filter(names, pattern)
