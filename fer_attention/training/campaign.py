"""Campaigns: training runs in an order, where later ones may start from or learn from earlier ones.

One folder holds all runs. Whatever is done stays done; a run that was interrupted, by `minutes`, a signal, a
kill or a change of machine, continues at its checkpoint when the same campaign is run again. The folder may
move. PrivateTest stays closed: `fer-attention evaluate` opens it for a model that is to be reported.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError, model_validator

from fer_attention.data import FaceDataset, selection_split
from fer_attention.data.loading import load_data
from fer_attention.data.splits import TRAIN
from fer_attention.messages import read_yaml, readable
from fer_attention.models.bundled import DEFAULT
from fer_attention.optional import needs_extra
from fer_attention.registry import unknown_name
from fer_attention.training.checkpoint import FREE_FIELDS, TrainingError, make_folder
from fer_attention.training.config import TrainConfig
from fer_attention.training.engine import TrainingCallbacks, train
from fer_attention.training.interrupts import TrainingStopped
from fer_attention.training.recipes import load_recipe

State = Literal["done", "started", "waiting"]

WEIGHTS = "best.safetensors"


class CampaignData(BaseModel, frozen=True, extra="forbid"):
    """A labelled data set with the splits that training wants.

    Texts in `path` and `options` may hold `{name}`, for a path that is given when the campaign is run.
    """

    path: str
    data_format: str = "auto"
    options: dict[str, Any] = Field({}, description="of the reader: votes, target, …")


class CampaignRun(BaseModel, frozen=True, extra="forbid"):
    """One training run. `{name}` of an earlier run in a text of `changes` is its weights file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of its folder")
    recipe: str
    data: str = Field(description="name of a data set")
    changes: dict[str, Any] = Field({}, description="fields of the recipe: seed, weights, teachers, …")


class Campaign(BaseModel, frozen=True, extra="forbid"):
    """Runs in their order, and the data sets that they are trained on."""

    data: dict[str, CampaignData] = Field(min_length=1)
    runs: tuple[CampaignRun, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> Campaign:
        names = [run.name for run in self.runs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"Two runs are named {twice[0]!r}.")
        for run in self.runs:
            if run.data not in self.data:
                raise ValueError(f"run {run.name}: {unknown_name('data set', run.data, self.data)}")
        return self


def load_campaign(path: str | Path) -> Campaign:
    """Read a campaign's YAML file.

    Raises:
        ValueError: It is not there, not valid YAML, or does not describe a campaign; the message names the
            field.
    """
    fields = read_yaml(Path(path))
    try:
        return Campaign.model_validate(fields)
    except ValidationError as error:
        raise ValueError(readable(error, Campaign, where=str(path))) from error


def run_campaign(
    campaign: Campaign,
    output: Path,
    *,
    paths: Mapping[str, str | Path] | None = None,
    minutes: float | None = None,
    device: torch.device | str = "auto",
    on_data: Callable[[str, FaceDataset], None] = lambda name, crops: None,
    on_run: Callable[[CampaignRun, State], None] = lambda run, state: None,
    callbacks: TrainingCallbacks | None = None,
) -> dict[str, State]:
    """Train the runs of a campaign that are not finished, in their order.

    Args:
        campaign: The campaign.
        output: Its folder; each run's weights, history, config and result are in a folder of the run's name.
        paths: What `{name}` stands for in the paths and options of data sets.
        minutes: Save and leave after this time; None trains to the end.
        device: Where to train: auto, cpu, cuda, cuda:N.
        on_data: Called with each data set that was read, by its name.
        on_run: Called with each run that is done, before or now, and before each that is begun or continued.
        callbacks: What each run calls meanwhile.

    Returns:
        The state of each run by its name.

    Raises:
        ValueError: A recipe, change, path or data set cannot be used; nothing was trained.
        ImportError: What trains is not installed: `fer_attention[train]`.
        TrainingError: A run failed, or its folder holds one of another config.
    """
    with needs_extra("train", "Training runs on accelerate"):
        import accelerate  # noqa: F401, PLC0415  (missing, it should be named before anything is read)
    deadline = None if minutes is None else time.monotonic() + minutes * 60

    def stop() -> bool:
        return deadline is not None and time.monotonic() >= deadline

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1  # whose clocks differ: there each run asks the first
    weights = {run.name: str(output / run.name / WEIGHTS) for run in campaign.runs}
    described = _checked(campaign, paths or {})
    left = {run.data for run in campaign.runs if run_state(output / run.name) != "done"}
    sets = {name: _load(name, data, on_data) for name, data in described.items() if name in left}
    make_folder(output)
    for run in campaign.runs:
        folder, state = output / run.name, run_state(output / run.name)
        if state != "done" and stop() and not several:
            break
        config = load_recipe(run.recipe, _filled(run.changes, lambda name, _: weights[name]))
        if state == "done":
            _check_config(folder, config)
        else:
            on_run(run, state)
            try:
                train(config, sets[run.data], folder, device=device, callbacks=callbacks, stop=stop)
            except TrainingStopped:
                break
        on_run(run, "done")
    return {run.name: run_state(output / run.name) for run in campaign.runs}


def run_state(folder: Path) -> State:
    """State of a run by the files in its folder."""
    if (folder / "result.json").is_file():
        return "done"
    return "started" if (folder / "checkpoint.pt").is_file() else "waiting"


def _checked(campaign: Campaign, paths: Mapping[str, str | Path]) -> dict[str, CampaignData]:
    """The data sets with their paths, once all runs are possible: the last one's mistake should not wait."""
    there: dict[str, str] = {}
    named = {name: str(path) for name, path in paths.items()}

    def weights_of(name: str, text: str) -> str:
        if name not in there and name in {run.name for run in campaign.runs}:
            raise ValueError(
                f"{text!r} stands for weights that are not there yet. Only runs above it can be named: "
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
        with _says(f"run {run.name}"):
            load_recipe(run.recipe, _filled(run.changes, weights_of))
        there[run.name] = DEFAULT  # weights that exist, in place of those to come
    described = {}
    for run in campaign.runs:
        with _says(f"data set {run.data}"):
            fields = _filled(campaign.data[run.data].model_dump(), path_of)
        described[run.data] = CampaignData(**fields)
    return described


def _load(name: str, data: CampaignData, on_data: Callable[[str, FaceDataset], None]) -> FaceDataset:
    with _says(f"data set {name}"):
        crops = load_data(data.path, data_format=data.data_format, **data.options)
        selection_split(crops)
        crops.split(TRAIN)
    on_data(name, crops)
    return crops


@contextmanager
def _says(where: str) -> Iterator[None]:
    """Errors of a part of the campaign name it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def _check_config(folder: Path, config: TrainConfig) -> None:
    """Refuse a finished run of another config; fields that it did not know yet had their defaults."""
    standard = TrainConfig(model=config.model).model_dump(mode="json")
    before = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    before = {**standard, **before, "augment": {**standard["augment"], **before.get("augment", {})}}
    now = config.model_dump(mode="json", exclude=FREE_FIELDS)
    if changed := [name for name in now if _placed(before[name]) != _placed(now[name])]:
        was = ", ".join(f"{name} was {before[name]!r}, is {now[name]!r}" for name in changed)
        raise TrainingError(
            f"{folder} holds a finished run of another config: {was}. Give the changed run another name, or "
            "remove that folder to train it anew."
        )


def _placed(value: Any) -> Any:
    """Weights of another run by that run's name alone: the folder of a campaign may move."""
    if isinstance(value, list):
        return [_placed(one) for one in value]
    if isinstance(value, str) and Path(value).name == WEIGHTS:
        return f"{{{Path(value).parent.name}}}"
    return value


def _filled(value: Any, find: Callable[[str, str], str]) -> Any:
    """A copy in which each `{name}` in a text is replaced by `find(name, text)`."""
    if isinstance(value, dict):
        return {key: _filled(one, find) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(one, find) for one in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"\{([^{}]*)\}", lambda found: find(found[1], value), value)
