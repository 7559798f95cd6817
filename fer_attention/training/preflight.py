"""Checks of a run before its data are read, which can take longer than everything else."""

from __future__ import annotations

import os
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from fer_attention.emotions import FER2013
from fer_attention.models import read_metadata
from fer_attention.models.bundled import weights_path
from fer_attention.models.factory import from_spec
from fer_attention.training.checkpoint import config_identity, read_checkpoint, run_lock
from fer_attention.training.config import TrainConfig
from fer_attention.training.history import Epoch
from fer_attention.training.result import TrainingResult, is_finished, result_of
from fer_attention.training.setup import build_model_of, check_device, freeze


def check_config(config: TrainConfig, *, device: torch.device | str = "auto") -> None:
    """Check everything about a config that does not depend on the data: device, weights, structure, layers.

    Raises:
        TrainingError: The weights, the frozen submodules or the precision do not fit.
        ValueError: The model cannot be built, its ImageNet weights do not fit, or the device does not exist.
        WeightsError: A weights file is damaged.
        ImportError: A training library or tracker is not installed.
    """
    check_device(config, device)
    for teacher in config.teachers:
        read_metadata(weights_path(teacher))
    if config.weights is None and config.backbone_weights is None:
        model = from_spec(config.spec(), device="meta")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run itself repeats them
            model = build_model_of(config, FER2013)
    freeze(model, config.freeze)


def check_run(
    config: TrainConfig, output: Path, *, device: torch.device | str = "auto"
) -> TrainingResult | None:
    """Check a run before its data are read: its config, and what its folder already contains.

    >>> import tempfile
    >>> config = TrainConfig(model="resnet18", precision="float32", trackers=())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_run(config, Path(folder), device="cpu")

    Returns:
        The result, if the folder contains the finished run of this config; whether its data are the same is
        not checked.

    Raises:
        TrainingError: Another process trains into the folder, it contains a run of another config, or the
            config cannot be trained.
        ValueError: As for `check_config`.
        ImportError: A training library or tracker is not installed.
    """
    check_config(config, device=device)
    if not output.exists():
        return None
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes, one holds the lock
    with run_lock(output) if first else nullcontext():
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        state = read_checkpoint(output, {**config_identity(config), "processes": processes})
    if state is None or not (output / "result.json").is_file():
        return None
    run: dict[str, Any] = state["run"]
    history = [Epoch(**epoch) for epoch in run["history"]]
    return result_of(config, output, history, run["warnings"]) if is_finished(history, config) else None
