"""State and steps of a run."""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F

from fer_attention.data import FaceDataset
from fer_attention.evaluation import accuracy
from fer_attention.inference import predict_logits
from fer_attention.models import FERModel
from fer_attention.training.augment import augmentation, mixing
from fer_attention.training.batches import Batches
from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import TrainConfig
from fer_attention.training.diagnostics import relative_gradients
from fer_attention.training.history import Epoch, TrainingProgress
from fer_attention.training.layout import memory_format
from fer_attention.training.objective import create_loss, logit_adjustment_of
from fer_attention.training.optimisation import create_optimizer, create_schedule
from fer_attention.training.setup import create_initial_model, freeze, from_main_process

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECK_EVERY = 20
"""Steps between two checks of the losses, since each check synchronises with the GPU."""

ADVICE = (
    "The last good checkpoint and the best weights so far are saved; try a lower lr or clip_norm=1 in a new "
    "folder."
)


class Run:
    """Model, averaged weights, optimiser, schedule and data of one process of a run.

    Attributes:
        ema: Averaged weights, which are validated and saved.
        history: Completed epochs.
        gradients: Relative gradient of each layer in the last step of each of the last two epochs.
        warnings: Detected training problems by kind.
    """

    def __init__(
        self,
        config: TrainConfig,
        training: FaceDataset,
        validation: FaceDataset,
        accelerator: Accelerator,
        *,
        targets: torch.Tensor,
    ) -> None:
        self.config, self.accelerator = config, accelerator
        device = accelerator.device
        model = create_initial_model(config, training).to(device)
        assert model.preprocessing is not None  # noqa: S101  (for the type checker)
        self.preprocessing = model.preprocessing
        self._format = memory_format(model, device, channels_last=config.channels_last)
        model = model.to(memory_format=self._format)
        self._frozen = freeze(model, config.freeze)
        self.ema = ModelEmaV3(model, decay=config.ema_decay, use_warmup=True)
        self.raw: nn.Module = model
        if accelerator.num_processes > 1 and device.type == "cuda" and config.sync_batchnorm:
            self.raw = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        optimizer = create_optimizer(self.raw, config)
        self.model, self.optimizer = accelerator.prepare(self.raw, optimizer)
        part = {"rank": accelerator.process_index, "processes": accelerator.num_processes}
        batches = {"preprocessing": self.preprocessing, "device": device}
        self.training = Batches(training, config, **batches, **part)
        self.validation = Batches(validation, config, **batches)
        if self.training.steps == 0:
            raise TrainingError(
                f"{len(training)} training images do not fill a batch of {self.training.step_size} "
                "(batch_size × accumulate × processes). Use a smaller batch_size."
            )
        self.schedule = create_schedule(optimizer, config, steps=self.training.steps)
        self.targets = targets.to(device)
        shift = logit_adjustment_of(self.targets, training.label_names, config.logit_adjustment)
        self._loss_shift, self._weights_shift = (
            shift if config.adjust == kind else torch.zeros_like(shift) for kind in ("loss", "weights")
        )
        self.loss = create_loss(config, training.labels, classes=len(training.label_names), device=device)
        self.augment, self.mix = augmentation(config.augment), mixing(config.augment)
        self.history: list[Epoch] = []
        self.gradients: list[dict[str, float]] = []
        self.warnings: dict[str, str] = {}
        self._step, self._loss_sum, self._right, self._norm, self._lr = 0, 0.0, 0.0, 0.0, 0.0
        self._began = time.perf_counter()
        self._rate = 0.0

    @property
    def epoch(self) -> int:
        """Number of the current or next epoch, from 1."""
        return len(self.history) + 1

    def steps(self, save_every: float, save: Callable[[], None]) -> Iterator[TrainingProgress]:
        """Train the rest of the current epoch, calling `save` every `save_every` seconds.

        Raises:
            TrainingError: The loss is not finite or has diverged; the last checkpoint precedes that.
        """
        self._began = saved = time.perf_counter()
        first = self._step
        self.model.train()
        for module in self._frozen:
            module.eval()
        check_every = 1 if self.accelerator.device.type == "cpu" else CHECK_EVERY
        pending: list[torch.Tensor] = []
        recent: deque[float] = deque(maxlen=CHECK_EVERY)
        right = torch.zeros((), device=self.accelerator.device)
        for passes in self.training.epoch(self.epoch, start=first):
            self._lr = self.optimizer.param_groups[0]["lr"]
            loss, correct = self._one_step(passes)
            self._step += 1
            pending.append(loss)
            right += correct
            last = self._step == self.training.steps
            if len(pending) < check_every and not last:
                continue
            self._check_losses(torch.stack(pending).float().cpu(), recent)
            self._right += float(right)
            pending.clear()
            right.zero_()
            seconds = (time.perf_counter() - self._began) / (self._step - first)
            self._rate = self.training.step_size / seconds
            if not last and time.perf_counter() - saved >= save_every:
                save()
                saved = time.perf_counter()
            yield TrainingProgress(
                epoch=self.epoch,
                step=self._step,
                steps=self.training.steps,
                loss=self._loss_sum / self._step,
                train_accuracy=self._right / (self._step * self.config.accumulate * self.config.batch_size),
                images_per_second=self._rate,
                epochs=self.config.epochs,
                seconds_left=self._seconds_left(seconds),
            )

    def _seconds_left(self, step: float) -> float:
        """Estimate the time to the end of the run from the seconds of a step and, if known, of an epoch."""
        epoch = self.history[-1].seconds if self.history else step * self.training.steps
        left = self.training.steps - self._step
        return left * step + (self.config.epochs - self.epoch) * max(epoch, step * self.training.steps)

    def _one_step(self, passes: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Do one step of the optimiser; return mean loss and number of correct answers of this process."""
        position = (self.config.seed_of("augmentation") * 100_003 + self.epoch) * 1_000_003 + self._step
        torch.manual_seed((position * 4099 + self.accelerator.process_index) % 2**63)
        total = torch.zeros((), device=self.accelerator.device)
        right = torch.zeros((), device=self.accelerator.device)
        for number, (images, rows) in enumerate(passes, start=1):
            with torch.no_grad():
                pixels, targets = self.mix(self.augment(images.float() / 255), self.targets[rows])
                inputs = self.preprocessing.standardize(pixels)
            inputs = inputs.contiguous(memory_format=self._format)
            accumulates = number < len(passes)
            with self.accelerator.no_sync(self.model) if accumulates else torch.enable_grad():
                logits = self.model(inputs).float()
                loss = self.loss(logits + self._loss_shift, targets)
                self.accelerator.backward(loss / len(passes))
            total += loss.detach() / len(passes)
            right += (logits.detach().argmax(1) == targets.argmax(1)).sum()
        if self.config.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.raw.parameters(), self.config.clip_norm)
        if self._step == self.training.steps - 1:
            self.gradients = [*self.gradients[-1:], relative_gradients(self.raw)]
            norms = [p.grad.norm() for p in self.raw.parameters() if p.grad is not None]
            self._norm = float(torch.stack(norms).norm())
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        done = (self.epoch - 1) * self.training.steps + self._step
        self.ema.update(self.raw, step=done + 1)
        return total, right

    def _check_losses(self, losses: torch.Tensor, recent: deque[float]) -> None:
        where = f"in epoch {self.epoch}, step {{}} of {self.training.steps}, learning rate {self._lr:.3g}"
        for step, loss in enumerate(losses.tolist(), start=self._step - len(losses) + 1):
            if not math.isfinite(loss):
                raise TrainingError(f"The loss is {loss} {where.format(step)}. {ADVICE}")
            recent.append(loss)
        mean, factor = sum(recent) / len(recent), self.config.divergence
        if mean > factor * math.log(self.targets.shape[1]):
            raise TrainingError(
                f"The loss has diverged: {mean:.3g} {where.format(self._step)}, more than {factor:g} "
                f"times that of a uniform guess. {ADVICE}"
            )
        self._loss_sum += float(losses.double().sum())

    def finish_epoch(self) -> Epoch:
        """Validate the averaged weights and complete the epoch in all processes."""
        sums = torch.tensor([self._loss_sum / self.training.steps, self._right], dtype=torch.float64)
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums.float().to(self.accelerator.device), "sum").double().cpu()
        found = self._validated(sums) if self.accelerator.is_main_process else None
        epoch = from_main_process(
            found, self.accelerator
        )  # schedules and early stopping need the same in all processes
        assert epoch is not None  # noqa: S101  (the main process has it; for the type checker)
        if not math.isfinite(epoch.validation_loss):
            raise TrainingError(
                f"The averaged weights produce a loss that is not finite after epoch {self.epoch}. {ADVICE}"
            )
        self.schedule.epoch(epoch.validation_loss)
        self.history.append(epoch)
        self._step, self._loss_sum, self._right = 0, 0.0, 0.0
        return epoch

    def _validated(self, sums: torch.Tensor) -> Epoch:
        averaged = self.averaged_model()
        logits = torch.cat(
            [
                predict_logits(averaged, self.preprocessing.normalize(images))
                for images in self.validation.in_order()
            ]
        )
        labels = self.validation.labels
        scores = accuracy(logits.argmax(1).numpy(), labels)
        gradients = list(self.gradients[-1].values())
        smallest, median = min(gradients, default=0.0), float(np.median(gradients or [1.0]))
        steps, processes = self.training.steps, self.accelerator.num_processes
        return Epoch(
            epoch=self.epoch,
            lr=self._lr,
            loss=float(sums[0]) / processes,
            train_accuracy=float(sums[1]) / (steps * self.training.step_size),
            validation_loss=float(F.cross_entropy(logits.double(), torch.from_numpy(labels))),
            validation_accuracy=scores.value,
            validation_balanced_accuracy=scores.balanced,
            gradient_norm=self._norm,
            smallest_gradient=smallest / median if median else 0.0,
            images_per_second=self._rate,
            seconds=time.perf_counter() - self._began,
        )

    def averaged_model(self) -> FERModel:
        """Return the averaged weights, with the classifier's bias adjusted if the config asks for it."""
        model = cast(FERModel, self.ema.module)
        if not bool(self._weights_shift.any()):
            return model
        model = copy.deepcopy(model)
        bias = cast(torch.Tensor, model.get_classifier().bias)
        with torch.no_grad():
            bias -= self._weights_shift.to(bias.device)
        return model

    def state(self) -> dict[str, Any]:
        """Return the state for `load`, after the last completed step."""
        scaler = self.accelerator.scaler
        return {
            "model": self.raw.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
            "position": (self._step, self._loss_sum, self._right),
            "warnings": self.warnings,
            "gradients": self.gradients,
            "targets": self.targets,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.raw.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self._step, self._loss_sum, self._right = state["position"]
        self.warnings, self.gradients = dict(state["warnings"]), list(state["gradients"])
