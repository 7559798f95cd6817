"""Table of the commands, so that help, completion and a mistyped name import none of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from fer_attention.cli.common import errors_as_lines, never_fail_to_print, warnings_as_lines
from fer_attention.cli.wording import as_typed

COMMANDS = {
    "predict": "Recognise the expressions of all faces in photos.",
    "faces": "Cut the faces out of a folder tree of photos.",
    "video": "Recognise the expressions of all faces in a video and follow them through it.",
    "models": "List model names with their parameters and multiply-accumulates.",
    "train": "Train a model; a split that is never reported selects the epoch.",
    "campaign": "Train several models in order, each able to start from or learn from the ones before.",
    "evaluate": (
        "Measure a weights file on labelled faces: accuracy with its interval, class by class, calibration."
    ),
    "calibrate": "Fit probabilities and candidates to labelled faces that a model was not trained on.",
    "explain": "Show what the network saw, used and answered for each face, with a legend.",
    "export": (
        "Write a model in a format that other programs run, verified against the model before it is written."
    ),
    "serve": "Serve expressions over HTTP: POST a photo to /predict, get its record as JSON.",
    "demo": "Serve a local web page that shows the faces and expressions of a photo.",
    "data": "Audit data sets and split them.",
    "study": "Controlled experiments over models, data and seeds.",
    "weights": "Weights of face detectors, downloaded on demand.",
}
"""Commands with the first line of their help.

`fer_attention/cli/NAME.py` has a function NAME and `EXAMPLES` of it, or a `NAME_app`.
"""


class LazyGroup(TyperGroup):
    """Group of commands that are imported when they are called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, line in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=line)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line, whatever the encoding of its terminal."""
        never_fail_to_print()
        return super().main(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments begin with; warnings of the library become lines."""
        with warnings_as_lines():
            try:
                return super().invoke(ctx)
            except typer.BadParameter as error:
                error.message = as_typed(error.message)
                raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that the arguments begin with."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and self.load(str(name)), rest  # completion has unknown names

    @staticmethod
    def load(name: str) -> Any:
        """Import a command or a group of commands, whose errors become lines."""
        module = import_module(f"fer_attention.cli.{name}")
        if hasattr(module, f"{name}_app"):
            loaded: Any = typer.main.get_group(getattr(module, f"{name}_app"))
        else:
            alone = typer.Typer(add_completion=False)
            alone.command(name, epilog=module.EXAMPLES)(getattr(module, name))
            loaded = typer.main.get_command(alone)
        for command in getattr(loaded, "commands", {name: loaded}).values():
            command.callback = errors_as_lines(command.params)(command.callback)
            command.help = _unwrapped(command.help)
        return loaded


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph, so that the terminal's width alone breaks them."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
