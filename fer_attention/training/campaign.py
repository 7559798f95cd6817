"""Campaigns: ordered training runs, in which later runs can use the weights of earlier ones.

One folder contains all runs. Finished runs are not repeated. A run that was interrupted by `minutes`, a
signal, a kill or a change of machine resumes from its checkpoint when the campaign is run again, even if
the folder has moved. Campaigns never use PrivateTest: `fer-attention evaluate` opens it for a model to be
reported.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, model_validator

from fer_attention.bounded import bounded, cut
from fer_attention.data import FaceDataset, selection_split
from fer_attention.data.loading import load_data
from fer_attention.data.origin import ORIGIN, data_origin, store_origin, stored_origin
from fer_attention.data.splits import TRAIN
from fer_attention.messages import validate
from fer_attention.models.bundled import DEFAULT
from fer_attention.optional import needs_extra
from fer_attention.registry import unknown_name
from fer_attention.training.checkpoint import (
    FREE_FIELDS,
    TrainingError,
    file_digests,
    make_folder,
    write_errors,
)
from fer_attention.training.config import TrainConfig
from fer_attention.training.engine import train
from fer_attention.training.interrupts import TrainingStopped
from fer_attention.training.recipes import load_recipe
from fer_attention.training.result import TrainingCallbacks
from fer_attention.yaml_files import load_yaml

State = Literal["done", "started", "waiting"]

WEIGHTS = "best.safetensors"


class CampaignData(BaseModel, frozen=True, extra="forbid"):
    """A labelled data set with the splits that training needs.

    Texts in `path` and `options` can contain `{name}`, which stands for a path passed to `run_campaign`.
    """

    path: str
    data_format: str = "auto"
    options: dict[str, Any] = Field({}, description="options of the reader: votes, target, …")


class CampaignRun(BaseModel, frozen=True, extra="forbid"):
    """One training run. In `changes`, `{name}` stands for the weights file of the earlier run `name`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of the run and its folder")
    recipe: str
    data: str = Field(description="name of one of the data sets")
    changes: dict[str, Any] = Field({}, description="changed fields of the recipe: seed, weights, …")


class Campaign(BaseModel, frozen=True, extra="forbid"):
    """Ordered training runs and the data sets that they use."""

    data: dict[str, CampaignData] = Field(min_length=1)
    runs: tuple[CampaignRun, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> Campaign:
        names = Counter(run.name for run in self.runs)
        if twice := sorted(name for name, count in names.items() if count > 1):
            raise ValueError(f"Two runs are named {bounded(twice[0])}.")
        for run in self.runs:
            if run.data not in self.data:
                raise ValueError(f"run {cut(run.name)}: {unknown_name('data set', run.data, self.data)}")
        return self


def load_campaign(path: str | Path) -> Campaign:
    """Read a campaign's YAML file.

    Raises:
        ValueError: The file cannot be read, is not valid YAML, or does not describe a campaign; the message
            names the field.
    """
    return validate(Campaign, load_yaml(Path(path)), where=str(path))


def run_campaign(
    campaign: Campaign,
    output: Path,
    *,
    paths: Mapping[str, str | Path] | None = None,
    minutes: float | None = None,
    device: torch.device | str = "auto",
    on_data: Callable[[str, FaceDataset], None] = lambda name, crops: None,
    on_run: Callable[[CampaignRun, TrainConfig, State], None] = lambda run, config, state: None,
    callbacks: TrainingCallbacks | None = None,
) -> dict[str, State]:
    """Train the unfinished runs of a campaign in their order.

    Args:
        campaign: The campaign.
        output: Folder of the campaign, with a subfolder for each run's weights, history, config and result.
        paths: Values of `{name}` in the paths and options of data sets.
        minutes: Time after which to save and stop; None trains to the end.
        device: Device to train on: auto, cpu, cuda, cuda:N.
        on_data: Called with name and crops of each data set that was read.
        on_run: Called with each finished run and its config, and with each run before it starts or resumes.
        callbacks: Callbacks of each run.

    Returns:
        State of each run by name.

    Raises:
        ValueError: A recipe, change, path or data set is not valid; nothing was trained.
        ImportError: The training libraries are not installed: `fer_attention[train]`.
        TrainingError: A run failed, or its folder contains a run of another config.
    """
    with needs_extra("train", "Training runs on accelerate"):
        import accelerate  # noqa: F401, PLC0415  (report a missing library before reading data)
    deadline = None if minutes is None else time.monotonic() + minutes * 60

    def stop() -> bool:
        return deadline is not None and time.monotonic() >= deadline

    several = (
        int(os.environ.get("WORLD_SIZE", "1")) > 1
    )  # their clocks differ, so each run asks the main process
    weights = {run.name: str(output / run.name / WEIGHTS) for run in campaign.runs}
    described = _validate(campaign, paths or {})
    origins = {name: _origin(name, data) for name, data in described.items()}
    before = stored_origin(output)  # finished runs on the same data need not read them
    left = {
        run.data
        for run in campaign.runs
        if run_state(output / run.name) != "done" or before.get(run.data) != origins[run.data]
    }
    sets = {name: _load_data(name, data, on_data) for name, data in described.items() if name in left}
    make_folder(output)
    for run in campaign.runs:
        folder, state = output / run.name, run_state(output / run.name)
        if state != "done" and stop() and not several:
            break
        config = load_recipe(run.recipe, _substitute(run.changes, lambda name, _: weights[name]))
        if state == "done":
            _check_finished_run(folder, config, sets.get(run.data))
        else:
            on_run(run, config, state)
            try:
                train(config, sets[run.data], folder, device=device, callbacks=callbacks, stop=stop)
            except TrainingStopped:
                break
        on_run(run, config, "done")
    else:
        if before != origins:
            with write_errors(output / ORIGIN):
                store_origin(output, origins)
    return {run.name: run_state(output / run.name) for run in campaign.runs}


def run_state(folder: Path) -> State:
    """Return the state of a run by the files in its folder."""
    if (folder / "result.json").is_file():
        return "done"
    return "started" if (folder / "checkpoint.pt").is_file() else "waiting"


def _validate(campaign: Campaign, paths: Mapping[str, str | Path]) -> dict[str, CampaignData]:
    """Validate all runs before the first one starts, and return the data sets with their paths."""
    there: dict[str, str] = {}
    named = {name: str(path) for name, path in paths.items()}

    def weights_of(name: str, text: str) -> str:
        if name not in there and name in {run.name for run in campaign.runs}:
            raise ValueError(
                f"{text!r} stands for weights that do not exist yet; a run can use those of earlier runs: "
                f"{', '.join(there) or 'none'}."
            )
        if name not in there:
            raise ValueError(f"{text!r}: {unknown_name('run', name, there)}")
        return there[name]

    def path_of(name: str, text: str) -> str:
        if name not in named:
            near = unknown_name("path", name, named)
            raise ValueError(f"{text!r}: {near} Give its path with --path {name}=PATH.")
        return named[name]

    for run in campaign.runs:
        with _named_errors(f"run {run.name}"):
            load_recipe(run.recipe, _substitute(run.changes, weights_of))
        there[run.name] = DEFAULT  # existing weights in place of future ones
    described = {}
    for run in campaign.runs:
        with _named_errors(f"data set {run.data}"):
            fields = _substitute(campaign.data[run.data].model_dump(), path_of)
        described[run.data] = CampaignData(**fields)
    return described


def _origin(name: str, data: CampaignData) -> dict[str, Any]:
    with _named_errors(f"data set {name}"):
        return data_origin(data.path, data.data_format, data.options)


def _load_data(name: str, data: CampaignData, on_data: Callable[[str, FaceDataset], None]) -> FaceDataset:
    with _named_errors(f"data set {name}"):
        crops = load_data(data.path, data_format=data.data_format, **data.options)
        selection_split(crops)
        crops.split(TRAIN)
    on_data(name, crops)
    return crops


@contextmanager
def _named_errors(where: str) -> Iterator[None]:
    """Prefix the errors of a part of the campaign with its name."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def _check_finished_run(folder: Path, config: TrainConfig, crops: FaceDataset | None) -> None:
    """Check that a finished run has this config, these weights files and, if they were read, these data.

    Fields that it lacks count as their defaults.
    """
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    if crops is not None:
        used = crops.take((crops.splits == TRAIN) | (crops.splits == selection_split(crops)))
        if result.get("data_fingerprint", used.fingerprint) != used.fingerprint:
            raise TrainingError(
                f"{folder} contains a finished run on other data. Use the same data, or remove that folder "
                "to train it again."
            )
    contents = list(file_digests(config).values())
    if list(result.get("files", {}).values()) not in ([], contents):
        raise TrainingError(
            f"{folder} contains a finished run whose start weights, ImageNet weights or teachers have "
            "changed since. Remove that folder to train it again."
        )
    standard = TrainConfig(model=config.model).model_dump(mode="json")
    before = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    before = {**standard, **before, "augment": {**standard["augment"], **before.get("augment", {})}}
    now = config.model_dump(mode="json", exclude=FREE_FIELDS)
    if changed := [name for name in now if _without_folder(before[name]) != _without_folder(now[name])]:
        was = ", ".join(f"{name} was {before[name]!r}, is {now[name]!r}" for name in changed)
        raise TrainingError(
            f"{folder} contains a finished run of another config: {was}. Give the changed run another name, "
            "or remove that folder to train it again."
        )


def _without_folder(value: Any) -> Any:
    """Replace weights files of a campaign's runs by their run's name, since its folder can move."""
    if isinstance(value, list):
        return [_without_folder(one) for one in value]
    if isinstance(value, str) and Path(value).name == WEIGHTS:
        return f"{{{Path(value).parent.name}}}"
    return value


def _substitute(value: Any, find: Callable[[str, str], str]) -> Any:
    """Return a copy in which `find(name, text)` replaces each `{name}` of a text."""
    if isinstance(value, dict):
        return {key: _substitute(one, find) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_substitute(one, find) for one in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"\{([^{}]*)\}", lambda found: find(found[1], value), value)
