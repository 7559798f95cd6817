"""`fer-attention …`: thin calls of the library, one file per command, imported when the command is called."""

from __future__ import annotations

from typing import Annotated

import typer

import fer_attention
from fer_attention.cli.common import fail
from fer_attention.cli.lazy import LazyGroup
from fer_attention.plugins import load_plugin

app = typer.Typer(
    name="fer-attention",
    cls=LazyGroup,
    help="Attention-augmented CNNs for facial expression recognition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(fer_attention.__version__)
        raise typer.Exit


def _plugins(modules: list[str] | None) -> None:
    for module in modules or ():
        try:
            load_plugin(module)
        except ImportError as error:
            fail(str(error))
            raise typer.Exit(2) from error


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            callback=_plugins,
            is_eager=True,  # before the command, whose choices include what plug-ins register
            metavar="MODULE",
            help="Module or .py file with a block, data set or detector of your own; before the command.",
        ),
    ] = None,
) -> None:
    """Attention-augmented CNNs for facial expression recognition."""
