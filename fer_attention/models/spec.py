"""Model names, and the specs that they stand for.

A name is `<backbone>[_<attention>][_<activation>]`: `vgg16`, `resnet50_se`, `resnetv2_101_eca_elu`. No
attention part means none, no activation part means ReLU. Parsing and printing are inverses:

>>> ModelSpec.parse("resnetv2_50_cbam_elu").attention
'cbam'
>>> ModelSpec("vgg16_bn", activation="leaky_relu").name
'vgg16_bn_leaky_relu'
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fer_attention.activations import ACTIVATIONS
from fer_attention.attention import ATTENTIONS, CONTROLS, check_attention_options
from fer_attention.bounded import bounded, cut
from fer_attention.models.family import BACKBONES, DEFAULT_STEM, Traits
from fer_attention.preprocessing import MAX_SIDE
from fer_attention.registry import check_choice, unknown_name

POOLS = ("avg", "max", "avgmax", "catavgmax", "")


@dataclass(frozen=True)
class ModelSpec:
    """The structure of a model, saved with its weights.

    >>> spec = ModelSpec("resnet50", attention="se", attention_options={"reduction": 8}, stem="half")
    >>> ModelSpec.from_json(spec.to_json()) == spec
    True

    Attributes:
        backbone: A registered backbone, such as `"resnetv2_50"`.
        attention: A registered attention block or control block, or `"none"`.
        activation: A registered activation; gates keep their own.
        num_classes: Number of outputs; 0 omits the classifier.
        in_chans: Input channels.
        img_size: Height and width in pixels, or one number for both. A VGG with its fully connected head
            is built for this size; other models accept any size.
        stem: `"imagenet"` is a 7×7/2 convolution with max pool (÷4), `"half"` one 3×3/2 (÷2), `"full"`
            one 3×3/1 (÷1). A VGG starts with its first stage and has `"imagenet"` only.
        width: Factor on all channel counts, which are rounded to multiples of 8.
        attention_options: Keyword arguments of the block, such as `{"reduction": 8}`.
        drop_rate: Dropout probability before the classifier.
        drop_path_rate: Stochastic depth at the last residual block, growing linearly from 0.
        global_pool: Pooling before the classifier: `"avg"`, `"max"`, `"avgmax"`, `"catavgmax"`, `""` (none).
        head: VGG only: `"fc"`, two fully connected layers, or `"gap"`, global pooling and one layer.
        stride_on: Bottleneck ResNets only: `"3x3"` (torchvision, timm) or `"1x1"` (He et al. 2015).

    Raises:
        UnknownNameError: A name is not registered; the message has the nearest one.
        ValueError: A number is out of range, or the backbone lacks an option.
        TypeError: The block lacks an attention option.
    """

    backbone: str
    attention: str = "none"
    activation: str = "relu"
    num_classes: int = 7
    in_chans: int = 1
    img_size: int | tuple[int, int] = 48
    stem: str = DEFAULT_STEM
    width: float = 1.0
    attention_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    global_pool: str = "avg"
    head: str | None = None
    stride_on: str | None = None

    def __post_init__(self) -> None:
        attentions = (*ATTENTIONS, "none")
        for part, known in (("backbone", BACKBONES), ("attention", attentions), ("activation", ACTIVATIONS)):
            name = getattr(self, part)
            if name not in known and not (part == "attention" and name in CONTROLS):
                raise unknown_name(part, name, known)
        object.__setattr__(self, "img_size", _square_as_int(self.img_size))
        if not isinstance(self.attention_options, Mapping):
            raise ValueError(
                "attention_options is a mapping of the block's keywords, such as {'reduction': 8}; got "
                f"{bounded(self.attention_options)}."
            )
        object.__setattr__(self, "attention_options", dict(self.attention_options))
        self._check_numbers()
        check_choice("global_pool", self.global_pool, POOLS)
        self._check_family()
        check_attention_options(self.attention, self.attention_options)

    def _check_numbers(self) -> None:
        for name, least, most in (("num_classes", 0, 100_000), ("in_chans", 1, 1_000)):
            number = getattr(self, name)
            if not isinstance(number, int) or not least <= number <= most:
                raise ValueError(f"{name} is an integer from {least} to {most}, got {bounded(number)}.")
        if not isinstance(self.width, (int, float)) or not 0 < self.width <= 16:
            raise ValueError(f"width is a factor above 0, at most 16; got {bounded(self.width)}.")
        for name in ("drop_rate", "drop_path_rate"):
            rate = getattr(self, name)
            if not isinstance(rate, (int, float)) or not 0 <= rate < 1:
                raise ValueError(f"{name} is a probability from 0 to below 1, got {bounded(rate)}.")

    def _check_family(self) -> None:
        traits = self.traits
        check_choice(f"stem of {self.backbone}", self.stem, tuple(traits.total_stride))
        if len(traits.heads) > 1:
            object.__setattr__(self, "head", self.head or traits.heads[0])
            check_choice(f"head of {self.backbone}", self.head, traits.heads)
        elif self.head not in (None, *traits.heads):
            raise ValueError(f"{self.backbone} has no head={self.head!r}: its head is {traits.heads[0]!r}.")
        if self.drop_path_rate and not traits.residual_blocks:
            raise ValueError(
                f"drop_path_rate={self.drop_path_rate} needs residual blocks; {self.backbone} has none."
            )
        if self.global_pool == "" and self.num_classes and not traits.unpooled_logits:
            raise ValueError(
                f"{self.backbone} has a linear classifier, which needs pooled features: global_pool='' goes "
                f"with num_classes=0 only, got num_classes={self.num_classes}."
            )
        if self.stride_on is not None and self.stride_on not in traits.stride_on:
            others = [name for name in BACKBONES if self.stride_on in BACKBONES[name].traits.stride_on]
            hint = f" {', '.join(others)} can have it." if others else ""
            raise ValueError(
                f"stride_on={self.stride_on!r} is not for {self.backbone}, which takes "
                f"{' or '.join(map(repr, traits.stride_on))}.{hint}"
            )

    @property
    def traits(self) -> Traits:
        """Properties of the backbone."""
        return BACKBONES[self.backbone].traits

    @property
    def name(self) -> str:
        """Name of backbone, attention and activation; other fields are not part of it."""
        attention = "" if self.attention == "none" else f"_{self.attention}"
        activation = "" if self.activation == "relu" else f"_{self.activation}"
        return f"{self.backbone}{attention}{activation}"

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W) of one input."""
        size = self.img_size
        return (self.in_chans, *(size if isinstance(size, tuple) else (size, size)))

    @classmethod
    def parse(cls, name: str, **changes: Any) -> ModelSpec:
        """Parse a name into a spec; other fields have their defaults or are given as `changes`.

        Raises:
            UnknownNameError: The name or a field does not exist; the message has the nearest one.
        """
        fitting = [b for b in BACKBONES if name == b or name.startswith(f"{b}_")]
        if not fitting:
            raise unknown_name("model", name, listed_names())
        backbone = max(fitting, key=len)
        rest = name[len(backbone) + 1 :]
        blocks = [a for a in (*ATTENTIONS, *CONTROLS) if rest == a or rest.startswith(f"{a}_")]
        attention = max(blocks, key=len, default="none")
        activation = rest if attention == "none" else rest[len(attention) + 1 :]
        explicit = {"relu", *ATTENTIONS, *CONTROLS} & {
            activation
        }  # `resnet50_relu` prints as `resnet50`: one name each
        if (activation and activation not in ACTIVATIONS) or explicit or name.endswith("_"):
            raise unknown_name("model", name, listed_names())
        known = [one.name for one in fields(cls) if one.name not in ("backbone", "attention", "activation")]
        for change in changes:
            check_choice("field of structure", change, known)
        return cls(backbone, attention=attention, activation=activation or "relu", **changes)

    def to_json(self) -> str:
        """Return the spec as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read a spec from JSON; unknown fields and invalid values raise a ValueError or TypeError."""
        record = json.loads(text)
        if not isinstance(record, dict) or set(record) - {f.name for f in fields(cls)}:
            raise ValueError(f"Not a model spec: {cut(text)}")
        return cls(**record)


def check_structure(structure: Iterable[str]) -> None:
    """Check keywords of a model for `output_stride`, which timm's ResNets have and ours do not.

    Raises:
        TypeError: It is among them; the message names the option that serves the purpose.
    """
    if "output_stride" in structure:
        raise TypeError(
            "There is no output_stride: these models have no dilated stages. A ResNet has a larger last map "
            "with a stem of smaller stride: stem='half' (÷16) or stem='full' (÷8)."
        )


def listed_names() -> list[str]:
    """List every backbone × attention × {ReLU, ELU}, sorted; `parse` takes other activations too."""
    return sorted(
        ModelSpec(backbone, attention=attention, activation=activation).name
        for backbone in BACKBONES
        for attention in ("none", *ATTENTIONS)
        for activation in ("relu", "elu")
    )


def _square_as_int(size: Any) -> int | tuple[int, int]:
    sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2 or any(not isinstance(side, int) or not 1 <= side <= MAX_SIDE for side in sides):
        raise ValueError(
            f"img_size is one integer or (height, width), pixels from 1 to {MAX_SIDE}; got {bounded(size)}."
        )
    return sides[0] if sides[0] == sides[1] else sides
