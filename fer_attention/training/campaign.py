"""Campaigns: training runs in an order, where later ones may start from or learn from earlier ones.

One folder holds all runs. Whatever is done stays done; a run that was interrupted, by `minutes`, a signal, a
kill or a change of machine, continues at its checkpoint when the same campaign is run again. PrivateTest
stays closed: `fer-attention evaluate` opens it for a model that is to be reported.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fer_attention.data import FaceCrops
from fer_attention.data.loading import load_data
from fer_attention.messages import readable
from fer_attention.models.bundled import DEFAULT
from fer_attention.registry import unknown_name
from fer_attention.training.checkpoint import TrainingError
from fer_attention.training.config import TrainConfig
from fer_attention.training.engine import Listener, TrainingStopped, train
from fer_attention.training.recipes import load_recipe

State = Literal["done", "started", "waiting"]


class CampaignData(BaseModel):
    """A labelled data set with the splits that training wants.

    Texts in `path` and `options` may hold `{name}`, for a path that is given when the campaign is run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    format: str = "auto"
    options: dict[str, Any] = Field({}, description="of the reader: votes, target, …")


class CampaignRun(BaseModel):
    """One training run. `{name}` of an earlier run in a text of `changes` is its weights file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of its folder")
    recipe: str
    data: str = Field(description="name of a data set")
    changes: dict[str, Any] = Field({}, description="fields of the recipe: seed, weights, teachers, …")


class Campaign(BaseModel):
    """Runs in their order, and the data sets that they are trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: dict[str, CampaignData] = Field(min_length=1)
    runs: tuple[CampaignRun, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> Campaign:
        names = [run.name for run in self.runs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two runs are named {twice[0]!r}")
        for run in self.runs:
            if run.data not in self.data:
                raise unknown_name(f"data set of the run {run.name!r}:", run.data, self.data)
        return self


def load_campaign(path: str | Path) -> Campaign:
    """Read a campaign's YAML file.

    Raises:
        ValueError: It is not there, not valid YAML, or does not describe a campaign; the message names the
            field.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file; a campaign is a YAML file with data and runs.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Campaign.model_validate(content)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    except ValidationError as error:
        raise ValueError(readable(error, Campaign, where=str(path))) from error


def run_campaign(
    campaign: Campaign,
    output: Path,
    *,
    paths: Mapping[str, str | Path] | None = None,
    minutes: float | None = None,
    device: torch.device | str = "auto",
    on_run: Callable[[CampaignRun, State], None] = lambda run, state: None,
    listener: Listener | None = None,
) -> dict[str, State]:
    """Carry out what is missing of a campaign, run after run.

    Args:
        campaign: The campaign.
        output: Its folder; each run's weights, history, config and result are in a folder of the run's name.
        paths: What `{name}` stands for in the paths and options of data sets.
        minutes: Save and leave after this time; None goes on to the end.
        device: Where to train: auto, cpu, cuda, cuda:N.
        on_run: Called with each run that is done already, and before each that is begun or continued.
        listener: What each run calls meanwhile.

    Returns:
        The state of each run by its name.

    Raises:
        ValueError: A recipe, change or path cannot be used; nothing was trained.
        TrainingError: A run failed, or its folder holds one of another config.
    """
    output = Path(output)
    variables = {name: str(path) for name, path in (paths or {}).items()}
    weights = {run.name: str(output / run.name / "best.safetensors") for run in campaign.runs}
    earlier: dict[str, str] = {}
    for run in campaign.runs:  # a mistake in the last run should not wait for the first
        load_recipe(run.recipe, _filled(run.changes, earlier, where=run.name))
        earlier[run.name] = DEFAULT  # weights that are there, in place of those to come
        _filled(campaign.data[run.data].model_dump(), variables, where=f"data set {run.data}")
    deadline = None if minutes is None else time.monotonic() + minutes * 60
    stop = lambda: deadline is not None and time.monotonic() >= deadline  # noqa: E731
    sets: dict[str, FaceCrops] = {}
    for run in campaign.runs:
        config = load_recipe(run.recipe, _filled(run.changes, weights, where=run.name))
        state = run_state(output / run.name)
        if state == "done":
            _check_config(output / run.name, config)
        elif stop():
            break
        on_run(run, state)
        if state == "done":
            continue
        if run.data not in sets:
            source = CampaignData(**_filled(campaign.data[run.data].model_dump(), variables, where=run.data))
            sets[run.data] = load_data(source.path, format=source.format, **source.options)
        try:
            train(config, sets[run.data], output / run.name, device=device, listener=listener, stop=stop)
        except TrainingStopped:
            break
    return {run.name: run_state(output / run.name) for run in campaign.runs}


def run_state(folder: Path) -> State:
    """What became of a run so far."""
    if (folder / "result.json").is_file():
        return "done"
    return "started" if (folder / "checkpoint.pt").is_file() else "waiting"


def _check_config(folder: Path, config: TrainConfig) -> None:
    before = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    now = config.model_dump(mode="json")
    if changed := sorted(field for field in now if before.get(field) != now[field]):
        raise TrainingError(
            f"{folder} holds a finished run of another config: {', '.join(changed)} changed. Give the changed "
            "run another name, or remove that folder to train it anew."
        )


def _filled(value: Any, variables: Mapping[str, str], *, where: str) -> Any:
    """A copy in which each text that is `{name}`, or holds it, names the variable's value."""
    if isinstance(value, dict):
        return {key: _filled(one, variables, where=where) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(one, variables, where=where) for one in value]
    if not isinstance(value, str):
        return value
    for part in value.split("{")[1:]:
        name = part.partition("}")[0]
        if name not in variables:
            raise unknown_name(f"name in braces in {value!r} ({where}):", name, variables)
        value = value.replace("{" + name + "}", variables[name])
    return value
