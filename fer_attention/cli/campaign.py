"""`fer-attention campaign`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_attention.cli.common import Device, examples, interruptions, say
from fer_attention.cli.training_output import training_bar, training_callbacks
from fer_attention.cli.wording import as_typed

if TYPE_CHECKING:
    from fer_attention.data import FaceDataset
    from fer_attention.training import TrainConfig
    from fer_attention.training.campaign import CampaignRun, State

EXAMPLES = examples(
    "fer-attention campaign bundled.yaml --output runs --path fer2013=fer2013.zip --minutes 120",
)


def campaign(
    file: Annotated[Path, typer.Argument(help="YAML file with the data sets and the runs in order.")],
    output: Annotated[Path, typer.Option(help="Folder of all runs; finished runs are not repeated.")],
    paths: Annotated[
        list[str] | None, typer.Option("--path", help="NAME=PATH, for {NAME} in the file's data sets.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Save and stop after this time; by default train to the end.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one per core.")] = None,
    device: Device = "auto",
) -> None:
    """Train several models in order, each able to start from or learn from the ones before.

    The same command resumes after --minutes, Ctrl-C or a kill, also on another machine.
    """
    import torch

    from fer_attention.device import resolve_device
    from fer_attention.training.campaign import load_campaign, run_campaign
    from fer_attention.training.precision import resolve_precision

    trained: set[str] = set()

    def on_run(run: CampaignRun, config: TrainConfig, state: State) -> None:
        if state == "done":
            say(f"{run.name} is done: {_best(output / run.name)}")
        else:
            trained.add(run.name)
            precision = resolve_precision(config, resolve_device(device))
            say(f"{run.name} {'resumes' if state == 'started' else 'starts'} in {precision}")

    named = dict(_pair(text) for text in paths or [])
    if threads is not None:
        torch.set_num_threads(threads)
    bar = training_bar()
    with interruptions(output), bar:
        states = run_campaign(
            load_campaign(file),
            output,
            paths=named,
            minutes=minutes,
            device=device,
            on_data=_on_data,
            on_run=on_run,
            callbacks=training_callbacks(bar),
        )
    left = [name for name, state in states.items() if state != "done"]
    done = f"{len(states) - len(left)} of {len(states)} runs"
    if left:
        say(f"{done} are done. The same command resumes with {left[0]}.")
    elif trained:
        say(f"{done} are done, in {output}.")
    else:
        say(f"{done} were done before, in {output}; nothing was trained.")


def _on_data(name: str, crops: FaceDataset) -> None:
    from fer_attention.data import describe

    text = f"data set {name}: {describe(crops)}"
    if crops.skipped:
        image, reason = crops.skipped[0]
        text += f"; left out: {len(crops.skipped):,}, the first {image} ({as_typed(reason)})"
    say(text)


def _best(folder: Path) -> str:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    best, count = result["best"], result["epochs"]
    return f"{best['validation_accuracy']:.2%} on the selection split, epoch {best['epoch']} of {count}"


def _pair(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise ValueError(f"--path takes NAME=PATH, got {text!r}.")
    return name, path
