"""`fer-attention train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from fer_attention.cli.common import Device, errors_as_lines, out
from fer_attention.data import load_fer2013
from fer_attention.device import resolve_device
from fer_attention.training import Epoch, load_recipe
from fer_attention.training import train as run


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe of the package, such as compact.")],
    data: Annotated[Path, typer.Option(help="FER2013: its folder or zip file.")],
    output: Annotated[Path, typer.Option(help="Folder of this run; an interrupted run goes on there.")],
    model: Annotated[str | None, typer.Option(help="Another model than the recipe's, full width.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field: epochs=10, structure.width=0.5.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a model on FER2013's training split; PublicTest selects the epoch."""
    with errors_as_lines():
        changes = _changes(settings or [])
        if model is not None:
            changes["model"] = model
        config = load_recipe(recipe, changes)
        out.print(f"{config.model}, {config.epochs} epochs, seed {config.seed}, into {output}")

        def show(epoch: Epoch) -> None:
            out.print(
                f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  train {epoch.train_accuracy:.2%}  "
                f"PublicTest {epoch.validation_accuracy:.2%}  {epoch.seconds:.0f} s",
                highlight=False,
            )

        best = run(config, load_fer2013(data), output, device=resolve_device(device), on_epoch=show)
    out.print(f"Best weights: {best}", soft_wrap=True)


def _changes(settings: list[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator:
            raise ValueError(f"--set takes field=value, got {setting!r}.")
        *parents, last = path.split(".")
        place = changes
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = yaml.safe_load(text)
    return changes
