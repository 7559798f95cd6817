"""What the three families share: timm's model interface over feature levels and a classifier head.

The contract of a family: `traits` declares what it has, `first_conv` and `classifier` name its first and last
layer; `levels` lists the network as feature levels, each a chain of modules whose last output is one entry of
`feature_info`; `forward_head` turns the last map into logits; `build_classifier` and `group_matcher` are for
timm. `register`, called beside the class, gives each member a name.

The attention block has one slot, named `attn`: in the residual families at the end of every residual branch,
before the shortcut is added; in VGG once, behind the last stage. Parameters are named as in timm, so that
timm's state dicts fit and only `attn.*` is new. Activations are modules, never functional calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from torch import nn

from fer_attention.activations import create_activation
from fer_attention.attention import AttentionBlock, create_attention
from fer_attention.models.family import BACKBONES, Backbone, Traits
from fer_attention.models.spec import ModelSpec
from fer_attention.preprocessing import Preprocessing

Factory = dict[str, Any]
"""`device` and `dtype`, handed to every layer that has parameters."""

Step = Callable[[torch.Tensor], torch.Tensor]


class FERModel(nn.Module):
    """A classifier of images: (N, in_chans, H, W) -> logits (N, num_classes).

    Attributes:
        spec: The record that rebuilds the structure.
        labels: Class names in the order of the logits, where they are known.
        preprocessing: How a face crop becomes the input, where that is known.
        record: Origin of the weights, from their file: config, data, images that they have seen.
        feature_info: Channels, reduction and module name of each feature level, as timm keeps them.
        num_features: Channels of the last map.
        head_hidden_size: Length of the vector before the classifier.
        default_cfg: timm's facts on input and layer names; `pretrained_cfg` is the same.
        traits: What the family has.
        first_conv: Name of the first convolution.
        classifier: Name of the last linear layer.
        hidden_layers: Name of a head's layers before the classifier, which are built for one input size.
    """

    traits: ClassVar[Traits]
    first_conv: ClassVar[str]
    classifier: ClassVar[str]
    hidden_layers: ClassVar[str | None] = None

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.labels: tuple[str, ...] | None = None
        self.record: Mapping[str, Any] = {}
        self.num_classes = spec.num_classes
        self.in_chans = spec.in_chans
        self.drop_rate = spec.drop_rate
        self.grad_checkpointing = False
        self.feature_info: list[dict[str, Any]] = []
        self.num_features = 0
        self.head_hidden_size = 0
        self.default_cfg = self.pretrained_cfg = self.timm_cfg(spec)
        self.preprocessing = None

    @classmethod
    def register(cls, name: str, *, traits: Traits | None = None, **options: Any) -> None:
        """Enter a member of this family into `BACKBONES`: `ResNet.register("resnet18", depths=(2, 2, 2, 2))`.

        Args:
            name: Of the backbone, the first part of its models' names.
            traits: What it has, where that is not what the family has.
            options: Keywords of the class that make it this member.

        Raises:
            TypeError: The class does not declare what a family declares.
            ValueError: The name is taken, or is not lower case.
        """
        wanted = {"traits": Traits, "first_conv": str, "classifier": str}
        missing = [field for field, kind in wanted.items() if not isinstance(getattr(cls, field, None), kind)]
        if missing:
            raise TypeError(f"{cls.__name__} does not declare {', '.join(missing)}: see FERModel.")
        BACKBONES.register(name)(Backbone(cls, options, traits or cls.traits))

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How a face crop becomes the input; setting it keeps timm's record in step."""
        return self._preprocessing

    @preprocessing.setter
    def preprocessing(self, preprocessing: Preprocessing | None) -> None:
        self._preprocessing = preprocessing
        if preprocessing is not None:
            for name in ("mean", "std", "interpolation"):
                self.default_cfg[name] = getattr(preprocessing, name)

    @classmethod
    def timm_cfg(cls, spec: ModelSpec) -> dict[str, Any]:
        """What timm's tools ask of a model: input, normalisation, names of the first and last layer."""
        _, height, width = spec.input_size
        reduction = spec.traits.total_stride[spec.stem]
        return {
            "architecture": spec.name,
            "num_classes": spec.num_classes,
            "input_size": spec.input_size,
            "pool_size": (math.ceil(height / reduction), math.ceil(width / reduction)),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": (0.5,) * spec.in_chans,
            "std": (0.5,) * spec.in_chans,
            "first_conv": cls.first_conv,
            "classifier": cls.classifier,
        }

    def levels(self) -> list[list[Step]]:
        """The network up to its last map, as one chain of modules per feature level."""
        raise NotImplementedError

    def final_norm(self, x: torch.Tensor) -> torch.Tensor:
        """What stands between the last level and the head; only ResNetV2 has something here."""
        return x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """(N, C, H, W) -> logits (N, num_classes), or the pooled features before the classifier."""
        raise NotImplementedError

    def get_classifier(self) -> nn.Module:
        """The last linear layer, or an Identity where there is none."""
        return self.get_submodule(self.classifier)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Parameter groups by depth, for timm's layer-wise learning rates."""
        raise NotImplementedError

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_chans, H, W) -> the last map (N, num_features, h, w)."""
        for level in self.levels():
            x = self._run(level, x)
        return self.final_norm(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_chans, H, W) -> logits (N, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[torch.Tensor] | tuple[torch.Tensor, list[torch.Tensor]]:
        """Feature maps of chosen levels, with the arguments of timm's `forward_intermediates`.

        `indices` are a list, an integer for the last n levels, or None for all.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt is 'NCHW' for a CNN, got {output_fmt!r}.")
        levels = self.levels()
        take, deepest = feature_take_indices(len(levels), indices)
        last = len(levels) - 1
        stop = deepest if stop_early else last
        maps = []
        for index, level in enumerate(levels[: stop + 1]):
            x = self._run(level, x)
            if index in take:
                maps.append(self.final_norm(x) if norm and index == last else x)
        if intermediates_only:
            return maps
        return (self.final_norm(x) if stop == last else x), maps

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what is not needed for some levels, as timm's method of this name; gives their indices."""
        levels = self.levels()
        take, deepest = feature_take_indices(len(levels), indices)
        dropped = {id(step) for level in levels[deepest + 1 :] for step in level}
        for path, module in list(self.named_modules()):
            if id(module) in dropped:
                self.set_submodule(path, nn.Identity())
        truncated = deepest < len(levels) - 1
        if truncated or prune_norm:
            self.prune_norm()
        if truncated:
            self.num_features = self.feature_info[deepest]["num_chs"]
        if truncated or prune_head:
            self.prune_head()
        return list(take)

    def prune_norm(self) -> None:
        """Drop the final norm, where there is one."""

    def prune_head(self) -> None:
        """Drop the classifier and its pooling, so that the output is the last map."""
        self.head_hidden_size = self.num_features
        self.reset_classifier(0, "")

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A fresh classifier for another number of classes (0: none), and another pooling if given."""
        pool = self.spec.global_pool if global_pool is None else global_pool
        self.spec = replace(self.spec, num_classes=num_classes, global_pool=pool)
        if num_classes != self.num_classes:
            self.labels = None
        self.num_classes = num_classes
        self.build_classifier(num_classes, global_pool)
        _initialise_classifier(self.get_classifier())

    def build_classifier(self, num_classes: int, global_pool: str | None) -> None:
        """Put a classifier of so many classes (0: an Identity) and its pooling in the place of the old one.

        The pooling is `""` for none; None keeps what is there.
        """
        raise NotImplementedError

    @property
    def placement(self) -> Factory:
        """Device and type of the parameters, for a layer that joins them."""
        parameter = next(self.parameters())
        return {"device": parameter.device, "dtype": parameter.dtype}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations block by block in the backward pass, to save memory."""
        self.grad_checkpointing = enable

    def _run(self, level: Sequence[Step], x: torch.Tensor) -> torch.Tensor:
        for step in level:
            recompute = self.grad_checkpointing and isinstance(step, nn.Sequential) and len(step) > 0
            x = checkpoint_seq(step, x) if recompute and torch.is_grad_enabled() else step(x)
        return x


def activation_of(spec: ModelSpec, factory: Factory) -> Callable[..., nn.Module]:
    """Return a function that makes the spec's activation, as timm's layers take it (`act_layer=...`)."""
    return partial(create_activation, spec.activation, inplace=True, **factory)


def gate_of(spec: ModelSpec, channels: int, factory: Factory) -> AttentionBlock | None:
    """The spec's attention block for maps of so many channels; None where it has none."""
    if spec.attention == "none":
        return None
    return create_attention(spec.attention, channels, **spec.attention_options, **factory)


def initialise(model: FERModel) -> None:
    """He initialisation by fan-out (He et al. 2015, arXiv:1502.01852); gates keep their own."""
    _initialise_backbone(model)
    _initialise_classifier(model.get_classifier())


def _initialise_backbone(module: nn.Module) -> None:
    if isinstance(module, AttentionBlock):
        return
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for child in module.children():
        _initialise_backbone(child)


def _initialise_classifier(layer: nn.Module) -> None:
    """Small weights, so that a fresh model gives every class about the same probability."""
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
