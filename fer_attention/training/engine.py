"""Train a model from a config and crops to the weights that are best on the selection split."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fer_attention.data import FaceDataset, selection_split
from fer_attention.data.seen import division_record
from fer_attention.data.splits import TRAIN
from fer_attention.models import save_weights
from fer_attention.training.checkpoint import (
    identity,
    make_folder,
    read_checkpoint,
    run_lock,
    write_checkpoint,
    write_errors,
    write_result,
)
from fer_attention.training.config import TrainConfig
from fer_attention.training.curves import curves_png
from fer_attention.training.diagnostics import overfitting_warning, vanishing_warning
from fer_attention.training.history import Epoch, to_csv
from fer_attention.training.interrupts import TrainingStopped, deferred_signals, end_run
from fer_attention.training.objective import target_distributions
from fer_attention.training.result import (
    TrainingCallbacks,
    TrainingResult,
    best_epoch,
    is_finished,
    result_of,
)
from fer_attention.training.run import Run
from fer_attention.training.setup import (
    create_accelerator,
    environment,
    from_main_process,
    leakage_warning,
    seen_images,
)

if TYPE_CHECKING:
    from accelerate import Accelerator


DRAWN_AFTER = 20.0
"""Seconds of an epoch from which on curves are drawn after it; drawing takes less than one."""


def train(
    config: TrainConfig,
    data: FaceDataset,
    output: Path,
    *,
    select_on: str | None = None,
    device: torch.device | str = "auto",
    callbacks: TrainingCallbacks | None = None,
    stop: Callable[[], bool] | None = None,
    curves: bool = True,
) -> TrainingResult:
    """Train a model on `data.split("train")` and save the epoch that is best on the selection split.

    Training resumes from a checkpoint of the same config, data, start weights and teachers in `output`, at
    the step where it was written. On the CPU, with the same number of threads and precision, the weights
    are then bit-identical to those of an uninterrupted run, since every step is seeded by its position in
    the run. Single-process runs save a checkpoint on SIGTERM and Ctrl-C.

    >>> import tempfile
    >>> import numpy as np
    >>> from fer_attention.emotions import FER2013
    >>> images = np.random.default_rng(0).integers(0, 256, (24, 16, 16), dtype=np.uint8)
    >>> faces = FaceDataset(images, labels=np.arange(24) % 7, names=np.arange(24).astype(str),
    ...                     splits=np.array(["train"] * 16 + ["validation"] * 8), label_names=FER2013)
    >>> config = TrainConfig(model="resnet18_eca", structure={"width": 0.125, "img_size": 16}, epochs=1,
    ...                      batch_size=8, precision="float32", trackers=())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = train(config, faces, Path(folder), device="cpu")
    >>> result.best.epoch, result.weights.name
    (1, 'best.safetensors')

    Args:
        config: Config of the run.
        data: Crops with the splits `train` and `select_on`; other splits are not used.
        output: Folder for `config.json`, `history.csv`, `checkpoint.pt`, `best.safetensors`, the trackers'
            files and, at the end, `result.json`.
        select_on: Split that selects the epoch; by default `validation`, or `public` for FER2013.
        device: Device to train on: auto, cpu, cuda, cuda:N.
        callbacks: Functions to call during the run.
        stop: Called after every few steps and every epoch, and while teachers predict; once it returns true,
            the run is saved and stopped. With several processes, only the main one's result counts.
        curves: Draw the learning curves to `curves.png` at the end, and after each epoch of 20 seconds or
            more, if matplotlib is installed.

    Raises:
        TrainingStopped: `stop` returned true; the same call resumes the run.
        TrainingError: The loss is not finite or has diverged, `output` contains another run or is in use, a
            file cannot be written, or the data does not fill one batch.
        DataError: A split is missing.
        ImportError: The training libraries are not installed: `fer_attention[train]`.
    """
    select_on = select_on or selection_split(data)
    training, validation = data.split(TRAIN), data.split(select_on)
    accelerator, precision = create_accelerator(config, device, output)
    main = accelerator.is_main_process
    if main:
        make_folder(output)
    with run_lock(output) if main else nullcontext():
        accelerator.wait_for_everyone()
        return _train(
            config,
            data,
            training,
            validation,
            output,
            accelerator,
            precision,
            select_on=select_on,
            callbacks=callbacks or TrainingCallbacks(),
            stop=stop,
            curves=curves,
        )


def _train(
    config: TrainConfig,
    data: FaceDataset,
    training: FaceDataset,
    validation: FaceDataset,
    output: Path,
    accelerator: Accelerator,
    precision: str,
    *,
    select_on: str,
    callbacks: TrainingCallbacks,
    stop: Callable[[], bool] | None,
    curves: bool,
) -> TrainingResult:
    main = accelerator.is_main_process
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []

    def stops() -> bool:
        return stop is not None and from_main_process(stop(), accelerator)

    def between() -> None:
        if stops():
            raise TrainingStopped("stopped while the teachers predicted; nothing was trained yet")

    used = data.take((data.splits == TRAIN) | (data.splits == select_on))
    expected = identity(config, used, processes=accelerator.num_processes, select_on=select_on)
    state = read_checkpoint(output, expected) or {}
    if state:  # teachers are slow, so checkpoints contain their predictions
        targets = state["run"]["targets"]
    else:
        targets = target_distributions(training, config, device=accelerator.device, between=between)
    with torch.random.fork_rng(devices=devices), deferred_signals(accelerator.num_processes) as received:
        run = Run(config, training, validation, accelerator, targets=targets)
        if state:
            run.load(state["run"])
        seen = state.get("seen") or (seen_images(config, training, validation).to_record() if main else {})
        if main and not state and (leak := leakage_warning(config, training, validation)) is not None:
            run.warnings["selection"] = leak
            callbacks.on_warning(leak)
        precisions = list(dict.fromkeys([*state.get("precisions", []), precision]))
        if main and precisions[0] != precision and not is_finished(run.history, config):
            change = f"the run started in {precisions[0]} and resumes in {precision}"
            callbacks.on_warning(f"{change}, which is faster here (precision=auto)")
        facts = {
            "selected_on": select_on,
            "training_images": len(training),
            "selection_images": len(validation),
            "data_fingerprint": expected["data"],
            "files": expected["files"],
            **division_record(data),
            "environment": environment(
                accelerator.device, accelerator.num_processes, precision=" and ".join(precisions)
            ),
        }
        if main:
            write_result(output / "config.json", config.model_dump_json(indent=2).encode())
        if config.trackers:
            accelerator.init_trackers("tracking", config=_flatten(config))

        def save() -> None:
            if main:
                state = {"identity": expected, "run": run.state(), "precisions": precisions, "seen": seen}
                write_checkpoint(output, state)

        if not state and config.teachers:
            save()
        while not is_finished(run.history, config):
            for progress in run.steps(config.checkpoint_minutes * 60, save):
                if progress.step < progress.steps and (received or stops()):
                    save()
                    end_run(received, output)
                if main:
                    callbacks.on_progress(progress)
            epoch = run.finish_epoch()
            new_warnings = _new_warnings(run)
            if main and epoch is best_epoch(run.history, config):
                _save_best(run, output / "best.safetensors", epoch, {**facts, **seen})
            save()
            if main:
                write_result(output / "history.csv", to_csv(run.history))
                if curves and (epoch.seconds >= DRAWN_AFTER or is_finished(run.history, config)):
                    _draw_curves(output / "curves.png", run.history, best_epoch(run.history, config))
                accelerator.log({k: v for k, v in asdict(epoch).items() if k != "epoch"}, step=epoch.epoch)
                for text in new_warnings:
                    callbacks.on_warning(text)
                callbacks.on_epoch(epoch)
            if received or (not is_finished(run.history, config) and stops()):
                end_run(received, output)
        result = result_of(config, output, run.history, run.warnings)
        if main:
            summary = {"best": asdict(result.best), "epochs": len(run.history), "warnings": result.warnings}
            write_result(output / "result.json", json.dumps({**summary, **facts}, indent=2).encode())
        for (
            tracker
        ) in accelerator.trackers:  # not end_training, since a campaign's next run needs the process group
            tracker.finish()
        accelerator.wait_for_everyone()
    return result


def _draw_curves(path: Path, history: list[Epoch], best: Epoch) -> None:
    if find_spec("matplotlib") is not None:
        write_result(path, curves_png(history, best))


def _new_warnings(run: Run) -> list[str]:
    """Record and return training problems of a new kind after an epoch."""
    found = {"overfitting": overfitting_warning(run.history), "gradients": vanishing_warning(run.gradients)}
    new = [kind for kind, text in found.items() if text is not None and kind not in run.warnings]
    run.warnings |= {kind: f"epoch {run.history[-1].epoch}: {found[kind]}" for kind in new}
    return [run.warnings[kind] for kind in new]


def _save_best(run: Run, path: Path, epoch: Epoch, facts: dict[str, Any]) -> None:
    """Save the averaged weights with a record of their origin."""
    record = {
        "config": run.config.model_dump(mode="json"),
        "selected_epoch": epoch.epoch,
        "selection_accuracy": epoch.validation_accuracy,
        **facts,
    }
    with write_errors(path):
        save_weights(run.averaged_model(), path, record=record, dtype=getattr(torch, run.config.keep_as))


def _flatten(config: TrainConfig) -> dict[str, Any]:
    """Flatten the config to names and plain values, as trackers need them."""
    fields = config.model_dump()
    fields |= {f"augment.{name}": value for name, value in fields.pop("augment").items()}
    return {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in fields.items()}
