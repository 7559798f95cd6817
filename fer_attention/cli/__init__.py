"""`fer-attention …`: thin calls of the library, one file per command, imported when the command is called."""

from __future__ import annotations

from typing import Annotated

import typer

import fer_attention
from fer_attention.cli.lazy import LazyGroup

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


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Attention-augmented CNNs for facial expression recognition."""
