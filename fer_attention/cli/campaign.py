"""`fer-attention campaign`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from fer_attention.cli.common import Device, errors_as_lines, fail, out
from fer_attention.cli.train import training_bar, training_listener
from fer_attention.training.campaign import CampaignRun, State, load_campaign, run_campaign


def campaign(
    file: Annotated[Path, typer.Argument(help="YAML file with data sets and runs in their order.")],
    output: Annotated[Path, typer.Option(help="Folder of all runs; what is done there stays done.")],
    paths: Annotated[
        list[str] | None, typer.Option("--path", help="NAME=PATH, for {NAME} in the file's data sets.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Save and leave after so many; by default at the end.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU; by default all.")] = None,
    device: Device = "auto",
) -> None:
    """Train several models in order, each able to start from or learn from the ones before.

    The same command continues wherever it was: after --minutes, Ctrl-C, a kill, or on another machine.
    """
    with errors_as_lines():
        named = dict(_pair(text) for text in paths or [])
        if threads is not None:
            torch.set_num_threads(threads)

        def on_run(run: CampaignRun, state: State) -> None:
            said = {"done": "is done", "started": "continues", "waiting": "begins"}[state]
            out.print(f"{run.name} {said}", highlight=False, markup=False)

        bar = training_bar()
        try:
            with bar:
                states = run_campaign(
                    load_campaign(file),
                    output,
                    paths=named,
                    minutes=minutes,
                    device=device,
                    on_run=on_run,
                    listener=training_listener(bar),
                )
        except KeyboardInterrupt:
            fail(f"stopped; what was done is saved in {output}. The same command continues from there.")
            sys.exit(130)
    left = [name for name, state in states.items() if state != "done"]
    out.print(
        f"{len(states) - len(left)} of {len(states)} runs are done"
        + (f"; next is {left[0]}. The same command continues." if left else f" in {output}."),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _pair(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise ValueError(f"--path takes NAME=PATH, got {text!r}.")
    return name, path
