"""Config of a training run, validated before the run starts and saved with its result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from fer_attention.attention import attention_options
from fer_attention.data import DEGRADATIONS
from fer_attention.data.degradations import check_strength
from fer_attention.evaluation import VIEWS
from fer_attention.models import ModelSpec
from fer_attention.models.bundled import weights_path
from fer_attention.registry import check_choice

RandomSource = Literal["initialisation", "order", "augmentation"]
"""Sources of randomness in a run: initial weights, order of images, augmentation with mixing and dropout."""


class DegradeConfig(BaseModel, frozen=True, extra="forbid"):
    """Probability and range of strengths of one degradation, drawn for each training image.

    >>> blur = DegradeConfig(probability=0.2, low=0.3, high=2.5)
    >>> AugmentConfig(degrade={"blur": blur}).degrade["blur"].high
    2.5
    """

    probability: float = Field(ge=0, le=1)
    low: float = Field(description="smallest strength, in the degradation's unit")
    high: float = Field(description="largest strength; drawn uniformly from low to high")


def _known_degradation(name: str) -> str:
    DEGRADATIONS[name]
    return name


class AugmentConfig(BaseModel, frozen=True, extra="forbid"):
    """Random changes of each training image; 0 disables a change, 1 disables `crop`.

    >>> AugmentConfig(rotate=15, mixup=0.2).flip
    0.5
    """

    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    rotate: float = Field(0.0, ge=0, le=180, description="largest rotation, degrees")
    translate: float = Field(0.0, ge=0, le=1, description="largest shift, in widths and heights")
    scale: float = Field(0.0, ge=0, lt=1, description="zoom by a factor from 1 - scale to 1 + scale")
    crop: float = Field(1.0, gt=0, le=1, description="side of a random square crop, resized back")
    brightness: float = Field(0.0, ge=0, lt=1, description="factor from 1 - brightness to 1 + brightness")
    contrast: float = Field(0.0, ge=0, lt=1, description="factor from 1 - contrast to 1 + contrast")
    erase: float = Field(0.0, ge=0, le=1, description="probability of erasing a rectangle")
    degrade: dict[Annotated[str, AfterValidator(_known_degradation)], DegradeConfig] = Field(
        {}, description="degradations by name (data.DEGRADATIONS), applied in this order"
    )
    mixup: float = Field(0.0, ge=0, description="alpha of mixup's Beta distribution, drawn per batch")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix; with mixup, each gets half of the batches")

    @model_validator(mode="after")
    def _degradations_exist(self) -> AugmentConfig:
        for name, degradation in self.degrade.items():
            check_strength(name, degradation.low, degradation.high)
            if degradation.low > degradation.high:
                raise ValueError(f"{name}: low={degradation.low:g} is above high={degradation.high:g}.")
        return self


class TrainConfig(BaseModel, frozen=True, extra="forbid"):
    """Config of one training run.

    A step has `batch_size` × `accumulate` images per process. `lr` is not scaled by their number.

    >>> config = TrainConfig(model="resnet18_cbam_elu", structure={"width": 0.5}, epochs=3, lr=0.05)
    >>> config.optimizer, config.spec().name
    ('sgd', 'resnet18_cbam_elu')
    """

    model: str = Field(description="name of the model: resnet18_cbam_elu")
    structure: dict[str, Any] = Field({}, description="further fields of its ModelSpec: width, stem, …")
    gate_start: Literal["published", "open"] = Field(
        "published", description="open: attention gates start at 1, where a block has that option"
    )
    weights: str | None = Field(None, description="initial weights: a file, or the name of bundled weights")
    backbone_weights: str | None = Field(None, description="initial ImageNet weights: timm's name, or a file")
    freeze: tuple[str, ...] = Field((), description="submodules that are not trained: stem, stages.0")

    epochs: int = Field(40, ge=1)
    batch_size: int = Field(128, ge=1, description="images per process and pass")
    accumulate: int = Field(1, ge=1, description="passes per optimiser step")
    sampling: Literal["shuffle", "balanced"] = Field("shuffle", description="balanced: classes equally often")

    optimizer: str = Field("sgd", description="name in timm; its sgd uses Nesterov momentum")
    lr: float = Field(0.1, gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum, for optimisers that have it")
    weight_decay: float = Field(5e-4, ge=0, description="for weights of at least two dimensions")
    decay_gates: bool = Field(True, description="false: no weight decay in attention blocks")
    layer_decay: float | None = Field(None, gt=0, le=1, description="rate of a level relative to the next")
    clip_norm: float | None = Field(None, gt=0, description="largest gradient norm of a step")
    schedule: Literal["one_cycle", "cosine", "step", "plateau", "constant"] = "one_cycle"
    warmup: float = Field(0.2, ge=0, lt=1, description="share of the run in which the learning rate rises")
    patience: int = Field(5, ge=1, description="plateau: epochs without improvement before a reduction")
    decay_rate: float = Field(0.75, gt=0, lt=1, description="plateau, step: factor of the learning rate")
    decay_epochs: int = Field(10, ge=1, description="step: epochs between two reductions")

    targets: Literal["labels", "votes"] = Field("labels", description="votes: shares of the voters' emotions")
    loss: Literal["cross_entropy", "focal", "binary", "generalised"] = Field(
        "cross_entropy", description="generalised: cross-entropy that noisy labels harm less"
    )
    focal_gamma: float = Field(2.0, ge=0)
    gce_q: float = Field(
        0.7, gt=0, le=1, description="generalised: towards 0 cross-entropy, 1 the mean absolute error"
    )
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = Field("none", description="balanced: 1 / class frequency")
    teachers: tuple[str, ...] = Field(
        (), description="weights files or bundled names; their mean prediction softens the labels"
    )
    teacher_views: str = Field("flip", description="test-time augmentation of the teachers: none, flip, …")
    teacher_weight: float = Field(0.5, ge=0, le=1, description="share of the teachers in the targets")
    logit_adjustment: float = Field(
        0.0, ge=0, description="tau of Menon et al. 2021, which favours rare classes; 0 disables it"
    )
    adjust: Literal["loss", "weights"] = Field(
        "loss", description="adjust the logits of the loss, or the bias of the saved weights"
    )

    ema_decay: float = Field(0.998, ge=0, lt=1, description="per step, of averaged weights; 0 disables them")
    augment: AugmentConfig = AugmentConfig()
    normalization: Literal["measured", "unit"] = Field(
        "measured", description="measured: by mean and standard deviation; unit: pixels in [0, 1]"
    )

    select_by: Literal["accuracy", "balanced_accuracy", "loss"] = "accuracy"
    stop_after: int | None = Field(None, ge=1, description="epochs without a lower validation loss")
    divergence: float = Field(5.0, gt=1, description="stop if the mean loss exceeds this × log(classes)")

    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 if it is faster on the device, else float32"
    )
    compile: bool = Field(False, description="torch.compile the model")
    channels_last: bool = Field(True, description="memory format, except where a CPU would crash")
    sync_batchnorm: bool = Field(True, description="several GPUs: batch statistics over all of them")
    workers: int = Field(2, ge=0, description="processes that read images from disk")
    seed: int = Field(0, ge=0)
    seeds: dict[RandomSource, Annotated[int, Field(ge=0)]] = Field(
        {}, description="separate seeds of random sources; augmentation covers all draws of a step"
    )
    checkpoint_minutes: float = Field(5.0, ge=0, description="longest time between checkpoints, minutes")
    trackers: tuple[str, ...] = Field(("tensorboard",), description="trackers of accelerate")
    keep_as: Literal["float32", "float16"] = Field("float32", description="type of the saved weights")

    @model_validator(mode="after")
    def _is_possible(self) -> TrainConfig:
        from timm.optim import list_optimizers  # noqa: PLC0415  (takes a second to import)

        if "num_classes" in self.structure:
            raise ValueError(
                "structure.num_classes is the number of emotions in the data; remove it from structure."
            )
        channels = self.spec().in_chans
        if channels not in (1, 3):
            raise ValueError(f"structure.in_chans must be 1 (grey) or 3 (RGB); got {channels}.")
        check_choice("optimizer", self.optimizer, map(str, list_optimizers()))
        VIEWS[self.teacher_views]
        if self.weights is not None and self.backbone_weights is not None:
            raise ValueError("weights and backbone_weights both initialise the model; set one of them.")
        if self.weights is not None and self.structure:
            raise ValueError(
                f"weights determine the structure; got structure={self.structure} as well. Set "
                "structure={}, or weights=null to train from scratch."
            )
        if self.logit_adjustment and self.loss == "binary":
            raise ValueError(
                "logit_adjustment needs a softmax: use loss=cross_entropy, focal or generalised."
            )
        for source in (self.weights, *self.teachers):
            if source is not None and not os.path.isfile(weights_path(source)):
                raise ValueError(f"There is no weights file {source}.")
        if self.layer_decay is not None and self.schedule in ("one_cycle", "plateau"):
            raise ValueError(f"layer_decay does not work with schedule={self.schedule}; use schedule=cosine.")
        return self

    def idle(self, changes: Mapping[str, Any]) -> str:
        """Describe a changed field that has no effect in this config; empty if there is none."""
        gates = self.weights is None and "start" in attention_options(self.spec().attention)
        needs = {
            "gate_start": ("a new model whose attention block has a start", gates),
            "gce_q": ("loss=generalised", self.loss == "generalised"),
            "focal_gamma": ("loss=focal", self.loss == "focal"),
            "teacher_weight": ("teachers", bool(self.teachers)),
            "teacher_views": ("teachers", bool(self.teachers)),
            "adjust": ("logit_adjustment", self.logit_adjustment > 0),
            "patience": ("schedule=plateau", self.schedule == "plateau"),
            "decay_rate": ("schedule=plateau or step", self.schedule in ("plateau", "step")),
            "decay_epochs": ("schedule=step", self.schedule == "step"),
            "warmup": ("a schedule other than plateau", self.schedule != "plateau"),
        }
        for name, (need, given) in needs.items():
            if name in changes and not given and changes[name] != type(self).model_fields[name].default:
                return f"{name} has no effect without {need}."
        return ""

    def spec(self, **fields: Any) -> ModelSpec:
        """Return the spec of the model, with `fields` replaced."""
        spec = ModelSpec.parse(self.model, **{**self.structure, **fields})
        if self.gate_start == "published" or "start" not in attention_options(spec.attention):
            return spec
        return replace(spec, attention_options={"start": self.gate_start, **spec.attention_options})

    def seed_of(self, source: RandomSource) -> int:
        """Return the seed of one random source."""
        return self.seeds.get(source, self.seed)
