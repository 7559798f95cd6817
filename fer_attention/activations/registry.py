"""Activations by name: those of torch.nn and timm that preserve the input's shape.

`create_activation("elu")` returns a new module each time, since some (PReLU) have parameters and others
(RReLU) have state. Names are those of timm where it has one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from timm import layers as timm_layers
from torch import nn
from torch.types import Device

from fer_attention.elu import ELU
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry

ACTIVATIONS: Registry[Callable[..., nn.Module]] = open_registry("activation")

for _name, _factory in {
    "celu": nn.CELU,
    "elu": ELU,
    "gelu": nn.GELU,
    "gelu_tanh": timm_layers.GELUTanh,
    "hard_mish": timm_layers.HardMish,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_swish": nn.Hardswish,
    "hardshrink": nn.Hardshrink,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "log_sigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "quick_gelu": timm_layers.QuickGELU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
}.items():
    ACTIVATIONS.register(_name)(_factory)


def create_activation(
    name: str,
    *,
    inplace: bool = False,
    device: Device = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> nn.Module:
    """Create an activation module by name.

    Args:
        name: A registered name, such as `"elu"`.
        inplace: Overwrite the input; ignored by activations that cannot.
        device: Device of the parameters, for the activations that have some (PReLU).
        dtype: Type of those parameters.
        options: The activation's own arguments, such as `alpha=0.5` for ELU.

    Raises:
        UnknownNameError: No activation has this name.
        TypeError: The activation has no such option.

    >>> create_activation("elu", alpha=0.5, inplace=True)
    ELU(alpha=0.5, inplace=True)
    """
    factory = ACTIVATIONS[name]
    accepted = inspect.signature(factory).parameters
    common = {"inplace": inplace, "device": device, "dtype": dtype}
    return factory(**{name: value for name, value in common.items() if name in accepted}, **options)
