"""Build models by name or from their parts."""

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
from fer_attention.models.spec import ModelSpec, check_structure, listed_names
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
    """Build a fresh model from its parts.

    `ModelSpec` explains `backbone` to `stride_on`. `backbone_weights` fills everything but the gates and a
    classifier of another size with timm's weights: a name such as `"resnet50.a1_in1k"`, which timm
    downloads, or a file with a state dict of timm or torchvision. With `device="meta"` the model has shapes
    but no weights.

    >>> model = build_model("resnet18", attention="cbam", attention_options={"reduction": 8}, device="meta")
    >>> model.spec.name
    'resnet18_cbam'

    Raises:
        UnknownNameError: A name is not registered; the message has the nearest one.
        ValueError: A number is out of range, the backbone lacks an option, or the weights do not fit.
        TypeError: A keyword or an attention option is unknown.
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
    """Build a fresh model of a spec; with seven classes, its labels are FER2013's until they are changed."""
    model = BACKBONES[spec.backbone](spec, device=device, dtype=dtype)
    if spec.num_classes == len(FER2013):
        model.labels = FER2013
    if spec.in_chans in (1, 3):
        grey = (0.5,) * spec.in_chans
        model.preprocessing = Preprocessing(spec.input_size[1:], spec.in_chans, mean=grey, std=grey)
    return model


def create_model(name: str, *, pretrained: bool = False, **structure: Any) -> FERModel:
    """Create a model by name.

    >>> model = create_model("resnetv2_50_cbam_elu", num_classes=7, in_chans=1, img_size=48, device="meta")
    >>> create_model("resnetv2_18_eca_elu.fer2013", pretrained=True).labels[:2]
    ('angry', 'disgust')

    Args:
        name: `<backbone>[_<attention>][_<activation>]`, and for bundled weights a tag, as in
            `"resnetv2_18_eca_elu.fer2013"`. A tag fixes the whole structure.
        pretrained: Load the bundled weights of this name.
        structure: Any other keyword of `build_model`. With a tag or `pretrained`, only `num_classes` (another
            number gives a fresh classifier), `drop_rate`, `drop_path_rate`, `device` and `dtype`.

    Raises:
        UnknownNameError: The model or its weights do not exist; the message has the nearest name.
        TypeError: A keyword is unknown, or fixed by the weights.
    """
    check_structure(structure)
    if named := sorted({"backbone", "attention", "activation"} & set(structure)):
        raise TypeError(f"The name {name!r} already gives {', '.join(named)}; build_model() takes the parts.")
    if not pretrained and "." not in name:
        spec = ModelSpec.parse(name)
        return build_model(spec.backbone, attention=spec.attention, activation=spec.activation, **structure)
    free = {"num_classes", "drop_rate", "drop_path_rate", "device", "dtype"}
    if fixed := sorted(set(structure) - free):
        raise TypeError(
            f"The weights of {name} fix {', '.join(fixed)}: leave them out, or build a fresh model with "
            f"create_model({name.split('.')[0]!r}, ...)."
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
    """List model names, sorted: every backbone × attention × {ReLU, ELU}.

    Args:
        pattern: A shell wildcard such as `"*_cbam_elu"`.
        pretrained: List the bundled weights, `<name>.<tag>`, instead.

    >>> list_models("vgg16_cbam*")
    ['vgg16_cbam', 'vgg16_cbam_elu']
    """
    names = bundled_names() if pretrained else listed_names()
    return names if pattern is None else fnmatch.filter(names, pattern)
