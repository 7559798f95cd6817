"""`fer-attention …`: thin calls of the library, one file per command."""

from __future__ import annotations

from typing import Annotated

import typer

import fer_attention
from fer_attention.cli.campaign import campaign
from fer_attention.cli.data import data_app
from fer_attention.cli.demo import demo
from fer_attention.cli.evaluate import evaluate
from fer_attention.cli.explain import explain
from fer_attention.cli.export import export
from fer_attention.cli.faces import faces
from fer_attention.cli.models import models
from fer_attention.cli.predict import predict
from fer_attention.cli.study import study_app
from fer_attention.cli.train import train
from fer_attention.cli.video import video
from fer_attention.cli.weights import weights_app

app = typer.Typer(
    name="fer-attention",
    help="Attention-augmented CNNs for facial expression recognition.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(predict)
app.command()(faces)
app.command()(video)
app.command()(models)
app.command()(train)
app.command()(campaign)
app.command()(evaluate)
app.command()(explain)
app.command()(export)
app.command()(demo)
app.add_typer(data_app, name="data")
app.add_typer(study_app, name="study")
app.add_typer(weights_app, name="weights")


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
