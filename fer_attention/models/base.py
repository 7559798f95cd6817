"""The base class of all families: timm's model interface over feature levels and a classifier head.

The contract of a family: `traits` declares its properties; `first_conv` and `classifier` name its first and
last layer; `levels` returns the network as feature levels, each a chain of modules whose last output is one
entry of `feature_info`, and `trunk` its containers, if it has some; `forward_head` turns the last map into
logits; `build_classifier` and `group_matcher` serve timm. `register`, called after the class, gives each
member a name.

The attention block has one slot, `attn`: in residual families at the end of every residual branch, before the
shortcut is added; in VGG once, after the last stage. Parameters have timm's names, so that timm's state dicts
fit and only `attn.*` is new. Activations are modules, never functional calls.
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
from fer_attention.calibration import CALIBRATION
from fer_attention.models.family import BACKBONES, Backbone, Traits
from fer_attention.models.spec import ModelSpec
from fer_attention.preprocessing import Preprocessing

Factory = dict[str, Any]
"""`device` and `dtype` for every layer with parameters."""

Step = Callable[[torch.Tensor], torch.Tensor]


class FERModel(nn.Module):
    """Image classifier: (N, in_chans, H, W) -> logits (N, num_classes).

    >>> from fer_attention.models import build_model
    >>> build_model("resnet18", attention="se", width=0.25)(torch.zeros(2, 1, 48, 48)).shape
    torch.Size([2, 7])

    Attributes:
        spec: The structure, enough to rebuild the model.
        labels: Class names in the order of the logits, or None.
        preprocessing: How a face crop becomes the input, or None.
        record: Origin of the weights, from their file: config, data, digests of the training images.
        feature_info: Channels, reduction and module name of each feature level, as in timm.
        num_features: Channels of the last map.
        head_hidden_size: Length of the vector before the classifier.
        default_cfg: timm's record of input and layer names; the same as `pretrained_cfg`.
        traits: Properties of the family.
        first_conv: Name of the first convolution.
        classifier: Name of the last linear layer.
        hidden_layers: Name of the head's layers before the classifier that are built for one input size.
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
        """Register a backbone of this family: `ResNet.register("resnet18", depths=(2, 2, 2, 2))`.

        Args:
            name: Name of the backbone, the first part of its models' names.
            traits: Its properties if they differ from the family's.
            options: Keyword arguments of the class for this backbone.

        Raises:
            TypeError: The class lacks `traits`, `first_conv` or `classifier`.
            ValueError: The name is taken, or is not lower case.
        """
        wanted = {"traits": Traits, "first_conv": str, "classifier": str}
        missing = [field for field, kind in wanted.items() if not isinstance(getattr(cls, field, None), kind)]
        if missing:
            raise TypeError(f"{cls.__name__} does not declare {', '.join(missing)}: see FERModel.")
        BACKBONES.register(name)(Backbone(cls, options, traits or cls.traits))

    @property
    def preprocessing(self) -> Preprocessing | None:
        """Preparation of a face crop for the model; setting it updates `default_cfg`."""
        return self._preprocessing

    @preprocessing.setter
    def preprocessing(self, preprocessing: Preprocessing | None) -> None:
        self._preprocessing = preprocessing
        if preprocessing is not None:
            for name in ("mean", "std", "interpolation"):
                self.default_cfg[name] = getattr(preprocessing, name)

    @classmethod
    def timm_cfg(cls, spec: ModelSpec) -> dict[str, Any]:
        """Return timm's record of a model: input, normalisation, names of the first and last layer."""
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
        """Return the network up to its last map, one chain of modules per feature level."""
        raise NotImplementedError

    def trunk(self) -> Sequence[Step]:
        """Return the modules that a whole forward pass calls up to the last map, containers where there are.

        Hooks and tools that look at a container, such as `stages`, see its output.
        """
        return [step for level in self.levels() for step in level]

    def final_norm(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the norm between the last level and the head; only ResNetV2 has one."""
        return x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Compute logits (N, num_classes), or the features before the classifier, from a map (N, C, H, W)."""
        raise NotImplementedError

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer, or an Identity if there is none."""
        return self.get_submodule(self.classifier)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return the patterns of parameter groups by depth, for timm's layer-wise learning rates."""
        raise NotImplementedError

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the last map (N, num_features, h, w) of images (N, in_chans, H, W)."""
        recompute = self.grad_checkpointing and torch.is_grad_enabled()
        for steps in self.levels() if recompute else [self.trunk()]:
            x = self._run(steps, x)
        return self.final_norm(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute logits (N, num_classes) of images (N, in_chans, H, W)."""
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
        """Compute the maps of chosen levels, with the arguments of timm's `forward_intermediates`.

        `indices` is a list, an integer for the last n levels, or None for all.
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
        """Drop the layers that the chosen levels do not need, as in timm, and return the levels' indices."""
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
        """Drop the final norm, if there is one."""

    def prune_head(self) -> None:
        """Drop the classifier and its pooling, so that the output is the last map."""
        self.head_hidden_size = self.num_features
        self.reset_classifier(0, "")

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier (0 classes: none), and the pooling if given; one that it lacks is "avg"."""
        if global_pool is None:
            needed = "" if num_classes == 0 or self.traits.unpooled_logits else "avg"
            global_pool = self.spec.global_pool or needed
        self.spec = replace(self.spec, num_classes=num_classes, global_pool=global_pool)
        if num_classes != self.num_classes:
            self.labels = None
            self.record = {name: entry for name, entry in self.record.items() if name != CALIBRATION}
        self.num_classes = num_classes
        self.build_classifier(num_classes, global_pool)
        _initialise_classifier(self.get_classifier())

    def build_classifier(self, num_classes: int, global_pool: str) -> None:
        """Replace the classifier layer (0 classes: an Identity) and its pooling ("": none)."""
        raise NotImplementedError

    @property
    def placement(self) -> Factory:
        """Device and type of the parameters, for further layers."""
        parameter = next(self.parameters())
        return {"device": parameter.device, "dtype": parameter.dtype}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations block by block in the backward pass, to save memory."""
        self.grad_checkpointing = enable

    def _run(self, level: Sequence[Step], x: torch.Tensor) -> torch.Tensor:
        for step in level:
            recompute = self.grad_checkpointing and isinstance(step, nn.Sequential) and len(step) > 0
            x = checkpoint_seq(_blocks(step), x) if recompute and torch.is_grad_enabled() else step(x)
        return x


def _blocks(module: Any) -> list[Step]:
    """Return the modules of a container, those of inner containers one by one."""
    if not isinstance(module, nn.Sequential):
        return [module]
    return [block for part in module for block in _blocks(part)]


def activation_of(spec: ModelSpec, factory: Factory) -> Callable[..., nn.Module]:
    """Return a function that creates the spec's activation, as timm's layers take it (`act_layer=...`)."""
    return partial(create_activation, spec.activation, inplace=True, **factory)


def gate_of(spec: ModelSpec, channels: int, factory: Factory) -> AttentionBlock | None:
    """Create the spec's attention block for maps with `channels` channels, or return None."""
    if spec.attention == "none":
        return None
    return create_attention(spec.attention, channels, **spec.attention_options, **factory)


def initialise(model: FERModel) -> None:
    """Initialise convolutions by fan-out (He et al. 2015, arXiv:1502.01852); gates keep their own start."""
    _initialise_backbone(model)
    _initialise_classifier(model.get_classifier())


def _initialise_backbone(module: nn.Module) -> None:
    if isinstance(module, AttentionBlock):
        return
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # PyTorch is slow to draw no numbers
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for child in module.children():
        _initialise_backbone(child)


def _initialise_classifier(layer: nn.Module) -> None:
    """Draw small weights, so that a fresh model gives every class about the same probability."""
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
