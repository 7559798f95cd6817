"""Insert attention blocks into CNNs of other libraries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import timm.models.resnet
import timm.models.resnetv2
import torchvision.models.resnet
from torch import nn

from fer_attention.attention.base import create_attention
from fer_attention.registry import unknown_name

LAST_LAYER: dict[type[nn.Module], str] = {
    torchvision.models.resnet.BasicBlock: "bn2",
    torchvision.models.resnet.Bottleneck: "bn3",
    timm.models.resnet.BasicBlock: "bn2",
    timm.models.resnet.Bottleneck: "bn3",
    timm.models.resnetv2.PreActBasic: "conv2",
    timm.models.resnetv2.PreActBottleneck: "conv3",
    timm.models.resnetv2.Bottleneck: "norm3",
}
"""Last layer of the branch of each known residual block: a gate after it comes before the sum."""


class GatedLayer(nn.Sequential):
    """A layer followed by an attention block; parameters under `.layer` and `.attention`."""

    def __init__(self, layer: nn.Module, attention: nn.Module) -> None:
        super().__init__(OrderedDict(layer=layer, attention=attention))


def add_attention(
    model: nn.Module,
    name: str,
    *,
    after: str | Iterable[str] | Mapping[str, int] | None = None,
    **options: Any,
) -> int:
    """Insert attention blocks into a CNN, in place.

    Without `after`, a block is inserted after the last convolution (and norm) of every residual block of a
    torchvision or timm ResNet, ResNeXt, Wide-ResNet or ResNetV2, before the sum, as in the SE and CBAM
    papers. A gated layer `bn3` becomes `GatedLayer(layer=bn3, attention=block)`, so load pretrained weights
    before you call this. Layers keep their weights; new blocks take the device and type of their layer.

    Args:
        model: Any module tree.
        name: A registered block, such as `"cbam"`.
        after: Dotted name or names of the modules to gate, for any other CNN. Pass a mapping to channel
            counts if a module has no convolution or norm to read them from.
        options: The block's own keywords.

    Returns:
        Number of blocks inserted, at least 1.

    Raises:
        UnknownNameError: No block, or no module of the model, has a given name.
        ValueError: There is no position for a block, a module is gated already, or its number of channels
            is unknown.
        TypeError: The block has no such option.

    >>> add_attention(torchvision.models.resnet18(), "cbam")
    8
    >>> model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())
    >>> add_attention(model, "eca", after="0", kernel_size=5)
    1
    """
    modules = dict(model.named_modules())
    if after is None:
        channels = dict.fromkeys(
            f"{path}.{LAST_LAYER[type(module)]}".lstrip(".")
            for path, module in modules.items()
            if type(module) in LAST_LAYER
        )
        if not channels:
            raise ValueError(
                f"{type(model).__name__} has no residual block of torchvision's or timm's ResNets. Name the "
                "modules to gate: add_attention(model, name, after=['features.28']). "
                "Models of fer_attention take attention by name: build_model(backbone, attention=...)."
            )
    else:
        after = [after] if isinstance(after, str) else after
        channels = dict(after) if isinstance(after, Mapping) else dict.fromkeys(after)
        if not channels:
            raise ValueError("after=[] names no module, so no block would be inserted.")
    gates = {
        path: _gate(modules, path, name, count, options) for path, count in channels.items()
    }  # all are built before the first is inserted, so that an error leaves the model unchanged
    for path in sorted(gates, key=len, reverse=True):  # parts before the modules that contain them
        model.set_submodule(path, gates[path])
    return len(gates)


def _gate(
    modules: Mapping[str, nn.Module], path: str, name: str, channels: int | None, options: Mapping[str, Any]
) -> GatedLayer:
    if path not in modules or not path:
        raise unknown_name("module", path, filter(None, modules))
    layer = modules[path]
    if isinstance(layer, GatedLayer):
        raise ValueError(
            f"{path} already has an attention block, {type(layer.attention).__name__}; "
            "name modules without one: after=[...]."
        )
    channels = _output_channels(layer) if channels is None else channels
    if channels is None:
        raise ValueError(
            f"The number of output channels of {path} ({type(layer).__name__}) is unknown; "
            f"pass it: after={{{path!r}: 256}}."
        )
    parameter = next(layer.parameters(), None)
    placement = {} if parameter is None else {"device": parameter.device, "dtype": parameter.dtype}
    gate = create_attention(name, channels, **{**placement, **options})
    gated = GatedLayer(layer, gate.train(layer.training))
    gated.training = layer.training  # train() would also change the modules of a partly frozen layer
    return gated


def _output_channels(layer: nn.Module) -> int | None:
    for module in reversed(list(layer.modules())):
        for attribute in ("num_features", "out_channels", "num_channels"):  # norms, convolutions, group norm
            if isinstance(count := getattr(module, attribute, None), int):
                return count
    return None
