"""One training run: from a config and crops to the weights that are best on the selection split."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from fer_attention.data import FaceDataset, selection_split
from fer_attention.data.splits import TRAIN
from fer_attention.models import save_weights
from fer_attention.training.checkpoint import (
    identity,
    make_folder,
    read_checkpoint,
    write_checkpoint,
    write_result,
    writing,
)
from fer_attention.training.config import TrainConfig
from fer_attention.training.history import Epoch, TrainingProgress, to_csv
from fer_attention.training.interrupts import TrainingStopped, leave, noted_signals
from fer_attention.training.objective import target_distributions
from fer_attention.training.run import Run
from fer_attention.training.setup import create_accelerator, environment, of_main, seen_images
from fer_attention.training.watch import overfitting, vanishing


class TrainingWarning(UserWarning):
    """A training problem that was detected while a run goes on."""


@dataclass(frozen=True)
class TrainingCallbacks:
    """Functions that a run calls while it goes on, in the main process only.

    Attributes:
        on_progress: After every few steps.
        on_epoch: After every epoch, once it is saved.
        on_warning: With a sentence on a training problem, once per kind; by default a TrainingWarning.
    """

    on_progress: Callable[[TrainingProgress], None] = lambda progress: None
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    on_warning: Callable[[str], None] = lambda text: warnings.warn(text, TrainingWarning, stacklevel=2)


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training run.

    Attributes:
        weights: The file of the best weights.
        best: The epoch that they are of.
        history: All epochs.
        warnings: Training problems that were detected, in sentences, each kind once; those from before an
            interruption are among them.
    """

    weights: Path
    best: Epoch
    history: tuple[Epoch, ...]
    warnings: tuple[str, ...] = ()


def train(
    config: TrainConfig,
    data: FaceDataset,
    output: Path,
    *,
    select_on: str | None = None,
    device: torch.device | str = "auto",
    callbacks: TrainingCallbacks | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Train one model on `data.split("train")` and keep the epoch that is best on the selection split.

    Training resumes from a checkpoint of the same config, data, start weights and teachers in `output`, at
    the step where it was written. On the CPU, with the same number of threads and in the same precision, the
    weights are then, bit by bit, those of a run that was never stopped: what a step draws is seeded by its
    position in the run. SIGTERM and Ctrl-C save a checkpoint first where one process trains.

    Args:
        config: The run.
        data: Crops with the splits `train` and `select_on`; no other split is looked at.
        output: Folder for `config.json`, `history.csv`, `checkpoint.pt`, `best.safetensors`, the trackers'
            files and, at the end, `result.json`.
        select_on: The split that chooses the epoch; by default `validation` or, of FER2013, `public`.
        device: Where to train: auto, cpu, cuda, cuda:N.
        callbacks: What to call meanwhile.
        stop: Asked after every few steps and every epoch, and while teachers answer; once it is true, the
            run is saved and left. Of several processes the main one's answer counts.

    Raises:
        TrainingStopped: `stop` was true; the same call continues the run.
        TrainingError: The loss is not finite or has diverged; `output` holds another run; a file cannot be
            written; the data does not fill one batch.
        DataError: A split is missing.
        ImportError: What trains is not installed: `fer_attention[train]`.
    """
    callbacks = callbacks or TrainingCallbacks()
    training = data.split(TRAIN)
    select_on = select_on or selection_split(data)
    validation = data.split(select_on)
    accelerator, precision = create_accelerator(config, device, output)
    main = accelerator.is_main_process
    if main:
        make_folder(output)
    accelerator.wait_for_everyone()
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []

    def stops() -> bool:
        return stop is not None and of_main(stop(), accelerator)

    def between() -> None:
        if stops():
            raise TrainingStopped("stopped while the teachers answered; nothing was trained yet")

    used = data.take((data.splits == TRAIN) | (data.splits == select_on))
    same = identity(config, used, processes=accelerator.num_processes, select_on=select_on)
    state = read_checkpoint(output, same) or {}
    if state:  # teachers are slow, so a checkpoint keeps what they said
        targets = state["run"]["targets"]
    else:
        targets = target_distributions(training, config, device=accelerator.device, between=between)
    with torch.random.fork_rng(devices=devices), noted_signals(accelerator.num_processes) as received:
        run = Run(config, training, validation, accelerator, targets=targets)
        if state:
            run.load(state["run"])
        seen = state.get("seen") or (seen_images(config, training, validation).to_record() if main else {})
        taken = list(dict.fromkeys([*state.get("precisions", []), precision]))
        if main and taken[0] != precision and not _is_over(run.history, config):
            change = f"the run began in {taken[0]} and continues in {precision}"
            callbacks.on_warning(f"{change}, which is faster here (precision=auto)")
        facts = {
            "selected_on": select_on,
            "training_images": len(training),
            "selection_images": len(validation),
            "data_fingerprint": same["data"],
            "environment": environment(
                accelerator.device, accelerator.num_processes, precision=" and ".join(taken)
            ),
        }
        if main:
            write_result(output / "config.json", config.model_dump_json(indent=2).encode())
        if config.trackers:
            accelerator.init_trackers("tracking", config=_flat(config))

        def save() -> None:
            if main:
                kept = {"identity": same, "run": run.state(), "precisions": taken, "seen": seen}
                write_checkpoint(output, kept)

        if not state and config.teachers:
            save()
        while not _is_over(run.history, config):
            for progress in run.steps(config.checkpoint_minutes * 60, save):
                if progress.step < progress.steps and (received or stops()):
                    save()
                    leave(received, output)
                if main:
                    callbacks.on_progress(progress)
            epoch = run.finish_epoch()
            new_warnings = _new_warnings(run)
            if main and epoch is _best(run.history, config):
                _save_best(run, output / "best.safetensors", epoch, {**facts, **seen})
            save()
            if main:
                write_result(output / "history.csv", to_csv(run.history))
                accelerator.log({k: v for k, v in asdict(epoch).items() if k != "epoch"}, step=epoch.epoch)
                for text in new_warnings:
                    callbacks.on_warning(text)
                callbacks.on_epoch(epoch)
            if received or (not _is_over(run.history, config) and stops()):
                leave(received, output)
        best, texts = _best(run.history, config), tuple(run.warnings.values())
        result = TrainingResult(output / "best.safetensors", best, tuple(run.history), texts)
        if main:
            summary = {"best": asdict(result.best), "epochs": len(run.history), "warnings": result.warnings}
            write_result(output / "result.json", json.dumps({**summary, **facts}, indent=2).encode())
        for tracker in accelerator.trackers:  # not end_training: a campaign's next run needs the processes
            tracker.finish()
        accelerator.wait_for_everyone()
    return result


def _new_warnings(run: Run) -> list[str]:
    """Look for training problems after an epoch; record and return those of a kind that is new."""
    found = {"overfitting": overfitting(run.history), "gradients": vanishing(run.gradients)}
    new = [kind for kind, text in found.items() if text is not None and kind not in run.warnings]
    run.warnings |= {kind: f"epoch {run.history[-1].epoch}: {found[kind]}" for kind in new}
    return [run.warnings[kind] for kind in new]


def _is_over(history: list[Epoch], config: TrainConfig) -> bool:
    if not history or config.stop_after is None:
        return len(history) >= config.epochs
    lowest = min(history, key=lambda epoch: epoch.validation_loss)
    return len(history) >= min(config.epochs, lowest.epoch + config.stop_after)


def _best(history: list[Epoch], config: TrainConfig) -> Epoch:
    """The first of the best epochs."""
    score = attrgetter(f"validation_{config.select_by}")
    return min(history, key=score) if config.select_by == "loss" else max(history, key=score)


def _save_best(run: Run, path: Path, epoch: Epoch, facts: dict[str, Any]) -> None:
    """The averaged weights, with a record of where they come from."""
    record = {
        "config": run.config.model_dump(mode="json"),
        "selected_epoch": epoch.epoch,
        "selection_accuracy": epoch.validation_accuracy,
        **facts,
    }
    with writing(path):
        save_weights(run.kept_model(), path, record=record, dtype=getattr(torch, run.config.keep_as))


def _flat(config: TrainConfig) -> dict[str, Any]:
    """The config as trackers take it: names and plain values."""
    fields = config.model_dump()
    fields |= {f"augment.{name}": value for name, value in fields.pop("augment").items()}
    return {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in fields.items()}
