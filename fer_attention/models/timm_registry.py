"""Register our model names in timm: `timm.create_model("resnetv2_50_cbam_elu")` after `import fer_attention`.

Every listed name that timm lacks is entered into timm's registry, with our defaults (one channel, seven
classes, 48×48). Names that timm has stay timm's. `fer_attention/timm_names.py` decides when this happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch.types import Device

from fer_attention.attention import ATTENTIONS
from fer_attention.models.base import FERModel
from fer_attention.models.bundled import bundled_names, bundled_path
from fer_attention.models.factory import from_spec
from fer_attention.models.family import BACKBONES
from fer_attention.models.metadata import ModelMetadata
from fer_attention.models.spec import ModelSpec, check_structure, listed_names
from fer_attention.models.weights import read_metadata

__all__: list[str] = []  # timm adds the names

default_cfgs: dict[str, Any] = {}
"""timm's records of our names; timm looks for them in this variable."""


def _entrypoint(name: str) -> Callable[..., torch.nn.Module]:
    spec = ModelSpec.parse(name)
    tagged = {full.partition(".")[2]: full for full in bundled_names() if _arch(full) == name}

    def create(pretrained: bool = False, **kwargs: Any) -> torch.nn.Module:
        tag = kwargs.get("pretrained_cfg")
        if pretrained and tag is None and tagged:
            tag = next(iter(tagged))
        origin = None
        if isinstance(tag, str) and tag in tagged:
            origin = read_metadata(bundled_path(tagged[tag]))
        elif (
            tag is None
        ):  # without a tag timm would take the record of the first weights, which are not loaded
            kwargs["pretrained_cfg"] = _timm_cfg(replace(spec, **_structure(kwargs)))
        model = build_model_with_cfg(
            partial(_construct, spec if origin is None else origin.spec, origin),
            name,
            pretrained,
            feature_cfg={"feature_cls": "getter", "out_indices": tuple(range(spec.traits.feature_levels))},
            **kwargs,
        )
        if pretrained and origin is not None:
            model.record = origin.record
        return model

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{name} of fer_attention."
    return create


def _construct(
    spec: ModelSpec,
    origin: ModelMetadata | None,
    *,
    device: Device = None,
    dtype: torch.dtype | None = None,
    **structure: Any,
) -> FERModel:
    check_structure(structure)
    model = from_spec(replace(spec, **structure), device=device, dtype=dtype)
    if origin is not None and model.in_chans == spec.in_chans:
        model.preprocessing = origin.preprocessing
    if origin is not None and model.num_classes == spec.num_classes:
        model.labels = origin.labels
    return model


def _structure(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a spec among the keywords of `timm.create_model`."""
    return {field.name: options[field.name] for field in fields(ModelSpec) if field.name in options}


def _timm_cfg(spec: ModelSpec) -> dict[str, Any]:
    cfg = BACKBONES[spec.backbone].family.timm_cfg(spec)
    del cfg["architecture"]  # timm fills it in
    return cfg


def _bundled_cfg(path: Path) -> dict[str, Any]:
    metadata = read_metadata(path)
    facts = {name: getattr(metadata.preprocessing, name) for name in ("mean", "std", "interpolation")}
    return {**_timm_cfg(metadata.spec), **facts, "file": str(path)}


def enter_names() -> None:
    """Enter every listed name that timm lacks into timm's registry, now and after each registration."""
    names = [name for name in listed_names() if not timm.is_model(name)]
    cfgs: dict[str, Any] = {name: _timm_cfg(ModelSpec.parse(name)) for name in names}
    cfgs |= {name: _bundled_cfg(bundled_path(name)) for name in bundled_names() if _arch(name) in names}
    default_cfgs.update(generate_default_cfgs(cfgs))
    for name in names:
        register_model(_entrypoint(name))
    for registry in (ATTENTIONS, BACKBONES):
        if enter_names not in registry.on_register:
            registry.on_register.append(enter_names)


def _arch(name: str) -> str:
    return name.partition(".")[0]
