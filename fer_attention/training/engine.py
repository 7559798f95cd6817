"""Training on crops that fit into memory, with a checkpoint after every epoch."""

from __future__ import annotations

import io
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timm.optim import param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import nn

import fer_attention
from fer_attention.atomic import write_atomically
from fer_attention.data import FaceCrops, Preprocessing
from fer_attention.evaluation import accuracy, predict_logits
from fer_attention.models import ModelSpec, load_weights, save_weights
from fer_attention.models.bundled import weights_path
from fer_attention.models.factory import from_spec
from fer_attention.training.augment import augmentation
from fer_attention.training.config import TrainConfig


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean training loss, with label smoothing, on augmented images.
        train_accuracy: Share of augmented training images that were right in passing.
        validation_accuracy: Of the averaged weights, on the selection split.
        seconds: Its duration.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    seconds: float


class TrainingError(RuntimeError):
    """A run that cannot go on: a loss that is no number, or a folder that holds another run."""


def train(
    config: TrainConfig,
    data: FaceCrops,
    output: Path,
    *,
    select_on: str = "public",
    device: torch.device | str = "cpu",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Path:
    """Train one model on `data.split("train")` and keep the epoch that is best on the selection split.

    A folder that holds a checkpoint of the same config is gone on with: each epoch draws from random
    states seeded by (seed, epoch), so that a run stopped between epochs ends as if it had not been.

    Args:
        config: The run.
        data: Crops with the splits `train` and `select_on`; no other split is looked at.
        output: Folder for `config.json`, `history.jsonl`, `checkpoint.pt` and `best.safetensors`.
        select_on: The split that chooses the epoch.
        device: Where to train.
        on_epoch: Called after every epoch.

    Returns:
        The path of the best weights.

    Raises:
        TrainingError: The loss is no longer finite, or `output` holds a run of another config.
    """
    output.mkdir(parents=True, exist_ok=True)
    run = _Run(config, data, select_on, torch.device(device))
    done = _resume(run, config, output)
    with torch.random.fork_rng():
        for number in range(done + 1, config.epochs + 1):
            torch.manual_seed(config.seed * 100_003 + number)
            epoch = run.epoch(number)
            if epoch.validation_accuracy > run.best:
                run.best = epoch.validation_accuracy
                run.save(output / "best.safetensors", epoch)
            run.history.append(asdict(epoch))
            write_atomically(output / "history.jsonl", _lines(run.history))
            _save_checkpoint(run, output, number)
            if on_epoch is not None:
                on_epoch(epoch)
    return output / "best.safetensors"


class _Run:
    """The state of one run: model, averaged weights, optimiser, schedule and data on the device."""

    def __init__(self, config: TrainConfig, data: FaceCrops, select_on: str, device: torch.device) -> None:
        training, validation = data.split("train"), data.split(select_on)
        self.config, self.device, self.select_on = config, device, select_on
        spec = config.spec(num_classes=len(data.label_names))
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.model = from_spec(spec).to(device).to(memory_format=torch.channels_last)
        self.preprocessing, images = _measured(spec, training)
        self.model.labels = data.label_names
        self.model.preprocessing = self.preprocessing
        self.images = images.to(device)
        self.labels = torch.from_numpy(training.labels).to(device)
        self.targets = nn.functional.one_hot(self.labels, len(data.label_names)).float()
        if config.teacher is not None:
            taught = _teacher_probabilities(config.teacher, data.label_names, training, device)
            self.targets = torch.lerp(self.targets, taught, config.teacher_weight)
        self.validation_images = self.preprocessing.normalize(self.preprocessing.prepare(validation.images))
        self.validation_labels = validation.labels
        self.augment = augmentation(config.augment)
        self.ema = ModelEmaV3(self.model, decay=config.ema_decay, use_warmup=True)
        self.steps = len(self.labels) // config.batch_size
        if self.steps == 0:
            raise TrainingError(
                f"{len(self.labels)} training images do not fill a batch of {config.batch_size}."
            )
        self.optimiser = torch.optim.SGD(
            param_groups_weight_decay(self.model, config.weight_decay),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, max_lr=config.lr, total_steps=config.epochs * self.steps, pct_start=config.warmup
        )
        self.loss = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
        self.history: list[dict[str, Any]] = []
        self.best = -1.0

    def epoch(self, number: int) -> Epoch:
        """One pass over the training images, then the selection split."""
        began = time.perf_counter()
        self.model.train()
        order = torch.randperm(len(self.labels)).to(self.device)
        size = self.config.batch_size
        total, right = 0.0, 0
        for step in range(self.steps):
            loss, correct = self._step(order[step * size : (step + 1) * size])
            total, right = total + loss, right + correct
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The loss is {loss} in epoch {number}, step {step + 1} of {self.steps}, learning rate "
                    f"{self.schedule.get_last_lr()[0]:.3g}. The best weights so far are kept; try a lower lr."
                )
        predicted = predict_logits(self.ema.module, self.validation_images).argmax(1).numpy()
        return Epoch(
            epoch=number,
            loss=total / self.steps,
            train_accuracy=right / (self.steps * size),
            validation_accuracy=accuracy(predicted, self.validation_labels).value,
            seconds=time.perf_counter() - began,
        )

    def _step(self, rows: torch.Tensor) -> tuple[float, int]:
        images = self.augment(self.images[rows].float() / 255)
        inputs = self.preprocessing.standardize(images).contiguous(memory_format=torch.channels_last)
        enabled = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled):
            logits = self.model(inputs)
        loss = self.loss(logits.float(), self.targets[rows])
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.ema.update(self.model)
        return loss.item(), int((logits.argmax(1) == self.labels[rows]).sum())

    def save(self, path: Path, epoch: Epoch) -> None:
        """The averaged weights, with a record of where they come from."""
        record = {
            "config": self.config.model_dump(),
            "selected_on": self.select_on,
            "selected_epoch": epoch.epoch,
            "selection_accuracy": epoch.validation_accuracy,
            "training_images": len(self.labels),
            "versions": {"fer_attention": fer_attention.__version__, "torch": torch.__version__},
            "machine": f"{platform.machine()}, {self.device.type}, {torch.get_num_threads()} threads",
        }
        save_weights(self.ema.module, path, record=record, dtype=getattr(torch, self.config.keep_as))


def _measured(spec: ModelSpec, training: FaceCrops) -> tuple[Preprocessing, torch.Tensor]:
    """The model's preprocessing, with the training pixels' mean and deviation, and these pixels in uint8."""
    channels = spec.in_chans
    neutral = Preprocessing(spec.input_size[1:], channels, mean=(0.0,) * channels, std=(1.0,) * channels)
    images = neutral.prepare(training.images)
    pixels = images.transpose(0, 1).reshape(channels, -1).float() / 255
    std, mean = (
        tuple(round(value, 4) for value in moment.tolist())
        for moment in torch.std_mean(pixels.double(), dim=1, correction=0)
    )
    return replace(neutral, mean=mean, std=std), images


@torch.inference_mode()
def _teacher_probabilities(
    source: str, labels: tuple[str, ...], training: FaceCrops, device: torch.device
) -> torch.Tensor:
    """(N, classes): what a trained model says of each training image, mean of the image and its mirror."""
    teacher = load_weights(weights_path(source), device=device)
    if teacher.labels != labels or teacher.preprocessing is None:
        raise TrainingError(f"The teacher {source} names {teacher.labels}, the data has {labels}.")
    images = teacher.preprocessing.normalize(teacher.preprocessing.prepare(training.images))
    views = (predict_logits(teacher, view).softmax(1) for view in (images, images.flip(-1)))
    return torch.stack(list(views)).mean(0).to(device)


def _lines(history: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in history).encode()


def _save_checkpoint(run: _Run, output: Path, number: int) -> None:
    state = {
        "epoch": number,
        "config": run.config.model_dump(),
        "model": run.model.state_dict(),
        "ema": run.ema.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "schedule": run.schedule.state_dict(),
        "history": run.history,
        "best": run.best,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(output / "checkpoint.pt", buffer.getvalue())


def _resume(run: _Run, config: TrainConfig, output: Path) -> int:
    """Take up the checkpoint in `output`, if there is one; gives the number of epochs done."""
    path = output / "checkpoint.pt"
    if not path.exists():
        write_atomically(output / "config.json", config.model_dump_json(indent=2).encode())
        return 0
    state = torch.load(path, weights_only=True, map_location=run.device)
    if state["config"] != config.model_dump():
        raise TrainingError(f"{output} holds a run of another config; choose another folder or remove it.")
    run.model.load_state_dict(state["model"])
    run.ema.load_state_dict(state["ema"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.schedule.load_state_dict(state["schedule"])
    run.history, run.best = state["history"], state["best"]
    return int(state["epoch"])
