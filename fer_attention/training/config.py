"""Config of a training run, validated before it starts and saved beside its result."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from fer_attention.data import DEGRADATIONS
from fer_attention.data.degradations import check_strength
from fer_attention.evaluation import VIEWS
from fer_attention.models import ModelSpec
from fer_attention.models.bundled import weights_path
from fer_attention.registry import unknown_name

Chance = Literal["initialisation", "order", "augmentation"]
"""Sources of randomness in a run: first weights, order of the images, augmentation (mixing, dropout)."""


class DegradeConfig(BaseModel, frozen=True, extra="forbid"):
    """Probability and range of strengths of one degradation, drawn for each training image."""

    probability: float = Field(ge=0, le=1)
    low: float = Field(description="smallest strength, in the degradation's unit")
    high: float = Field(description="largest strength; strengths are drawn evenly between the two")


class AugmentConfig(BaseModel, frozen=True, extra="forbid"):
    """Random changes of each training image; zero turns one off, of `crop` one."""

    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    rotate: float = Field(0.0, ge=0, le=180, description="largest rotation, degrees")
    translate: float = Field(0.0, ge=0, le=1, description="largest shift, in widths and heights")
    scale: float = Field(0.0, ge=0, lt=1, description="zoom by a factor from 1 - scale to 1 + scale")
    crop: float = Field(1.0, gt=0, le=1, description="side of a square placed at random, resized back")
    brightness: float = Field(0.0, ge=0, lt=1, description="factor from 1 - brightness to 1 + brightness")
    contrast: float = Field(0.0, ge=0, lt=1, description="factor from 1 - contrast to 1 + contrast")
    erase: float = Field(0.0, ge=0, le=1, description="probability of erasing a rectangle")
    degrade: dict[str, DegradeConfig] = Field(
        {}, description="blur, noise, jpeg, …, applied in this order: data.DEGRADATIONS"
    )
    mixup: float = Field(0.0, ge=0, description="alpha of mixup's Beta distribution, one factor per batch")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix; beside mixup each takes half the batches")

    @model_validator(mode="after")
    def _degradations_exist(self) -> AugmentConfig:
        for name, degradation in self.degrade.items():
            DEGRADATIONS[name]
            check_strength(name, degradation.low, degradation.high)
            if degradation.low > degradation.high:
                raise ValueError(f"{name}: low={degradation.low:g} is above high={degradation.high:g}.")
        return self


class TrainConfig(BaseModel, frozen=True, extra="forbid"):
    """One run. `model` names the model; `structure` holds further fields of its ModelSpec.

    A step's batch is `batch_size × accumulate ×` number of processes. `lr` is for that batch as it is; it
    is not scaled.
    """

    model: str
    structure: dict[str, Any] = {}
    weights: str | None = Field(None, description="start from these: a file or bundled weights of the spec")
    backbone_weights: str | None = Field(None, description="start from ImageNet: timm's name, or a file")
    freeze: tuple[str, ...] = Field((), description="submodules that keep their weights: stem, stages.0")

    epochs: int = Field(40, ge=1)
    batch_size: int = Field(128, ge=1, description="images per process and pass")
    accumulate: int = Field(1, ge=1, description="passes per step of the optimiser")
    sampling: Literal["shuffle", "balanced"] = Field("shuffle", description="balanced: classes equally often")

    optimizer: str = Field("sgd", description="timm's name; its sgd has Nesterov momentum")
    lr: float = Field(0.1, gt=0, description="peak of the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="of the optimisers that have it")
    weight_decay: float = Field(5e-4, ge=0, description="on weights of two dimensions or more only")
    decay_gates: bool = Field(True, description="false: no weight decay inside attention blocks")
    layer_decay: float | None = Field(None, gt=0, le=1, description="rate of each level over the next one's")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of a step's gradient")
    schedule: Literal["one_cycle", "cosine", "step", "plateau", "constant"] = "one_cycle"
    warmup: float = Field(0.2, ge=0, lt=1, description="share of the run in which the rate rises")
    patience: int = Field(5, ge=1, description="plateau: epochs without gain before the rate falls")
    decay_rate: float = Field(0.75, gt=0, lt=1, description="plateau, step: what the rate is multiplied by")
    decay_epochs: int = Field(10, ge=1, description="step: epochs between two falls")

    loss: Literal["cross_entropy", "focal", "binary"] = "cross_entropy"
    focal_gamma: float = Field(2.0, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = Field("none", description="balanced: 1 / class frequency")
    teachers: tuple[str, ...] = Field(
        (), description="weights whose probabilities, averaged, soften the labels"
    )
    teacher_views: str = Field("flip", description="test-time augmentation of the teachers: none, flip, …")
    teacher_weight: float = Field(0.5, ge=0, le=1, description="share of the teachers in the target")
    logit_adjustment: float = Field(
        0.0, ge=0, description="tau of Menon et al. 2021: how far rare classes are helped; 0 not at all"
    )
    adjust: Literal["loss", "weights"] = Field(
        "loss", description="adjust logits while training, or the bias of the weights that are kept"
    )

    ema_decay: float = Field(0.998, ge=0, lt=1, description="of the averaged weights, per step; 0 for none")
    augment: AugmentConfig = AugmentConfig()
    normalization: Literal["measured", "unit"] = Field(
        "measured", description="measured: minus the mean, over the deviation; unit: pixels in [0, 1]"
    )

    select_by: Literal["accuracy", "balanced_accuracy", "loss"] = "accuracy"
    stop_after: int | None = Field(None, ge=1, description="epochs without a lower validation loss")
    divergence: float = Field(5.0, gt=1, description="stop where the mean loss exceeds this × log(classes)")

    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 where the device computes faster in it, else float32"
    )
    compile: bool = Field(False, description="torch.compile the model")
    channels_last: bool = True
    sync_batchnorm: bool = Field(True, description="several GPUs: normalise over all of them")
    workers: int = Field(2, ge=0, description="processes that read images which stay on the disk")
    seed: int = Field(0, ge=0)
    seeds: dict[Chance, Annotated[int, Field(ge=0)]] = Field(
        {}, description="sources of chance with a seed of their own; `augmentation` is all that a step draws"
    )
    checkpoint_minutes: float = Field(5.0, ge=0, description="longest time between two checkpoints")
    trackers: tuple[str, ...] = Field(("tensorboard",), description="accelerate's trackers")
    keep_as: Literal["float32", "float16"] = Field("float32", description="type of the weights on disk")

    @model_validator(mode="after")
    def _is_possible(self) -> TrainConfig:
        from timm.optim import list_optimizers  # noqa: PLC0415  (a second's import, for runs only)

        self.spec()
        if self.optimizer not in (known := list(map(str, list_optimizers()))):
            raise unknown_name("optimizer", self.optimizer, known)
        VIEWS[self.teacher_views]
        if self.weights is not None and self.backbone_weights is not None:
            raise ValueError("weights and backbone_weights both start the model; give one.")
        if self.weights is not None and self.structure:
            raise ValueError(
                f"weights settle the structure; got structure={self.structure} as well. Set structure={{}}, "
                "or weights=null to start anew."
            )
        if self.logit_adjustment and self.loss == "binary":
            raise ValueError("logit_adjustment is for a softmax: take loss=cross_entropy or loss=focal.")
        for source in (self.weights, *self.teachers):
            if source is not None and not weights_path(source).is_file():
                raise ValueError(f"There is no weights file {source}.")
        if self.layer_decay is not None and self.schedule in ("one_cycle", "plateau"):
            raise ValueError(f"layer_decay and schedule={self.schedule} do not go together; take cosine.")
        return self

    def spec(self, **fields: Any) -> ModelSpec:
        """The structure that the run trains."""
        return ModelSpec.parse(self.model, **{**self.structure, **fields})

    def seed_of(self, source: Chance) -> int:
        """The seed of one source of chance."""
        return self.seeds.get(source, self.seed)
