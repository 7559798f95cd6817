"""`fer-attention weights download` and `fer-attention weights list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from fer_attention.cli.common import err, examples, out, say

if TYPE_CHECKING:
    from fer_attention.faces.detectors.weights import DownloadableWeights

weights_app = typer.Typer(help="Weights of face detectors, downloaded on demand.", no_args_is_help=True)


@weights_app.command("download", epilog=examples("fer-attention weights download yunet"))
def download(name: Annotated[str, typer.Argument(help="A name that `weights list` shows.")]) -> None:
    """Download the weights of a face detector and verify them, unless they are here already."""
    from fer_attention.faces.detectors.weights import DOWNLOADABLE, download_weights

    path = download_weights(name, progress=err.is_terminal)
    weights = DOWNLOADABLE[name]
    facts = {"file": path, "size": _size(weights), "licence": weights.licence, "source": weights.source}
    for label, value in facts.items():
        say(f"{label:8}{value}")


@weights_app.command("list", epilog=examples("fer-attention weights list"))
def show_all() -> None:
    """List the weights that can be downloaded, with their licences and files."""
    from fer_attention.faces.detectors.weights import DOWNLOADABLE, weights_folder

    headings = Column("name", no_wrap=True), Column("size", justify="right", no_wrap=True)
    wide = (Column(heading, overflow="fold") for heading in ("licence", "source", "here"))
    table = Table(*headings, *wide, caption=f"stored in {escape(str(weights_folder()))}")
    for name, weights in sorted(DOWNLOADABLE.items()):
        cells = (name, _size(weights), weights.licence, weights.source, _state(weights))
        table.add_row(*map(escape, cells))
    out.print(table)


def _size(weights: DownloadableWeights) -> str:
    return f"{weights.size:,} bytes"


def _state(weights: DownloadableWeights) -> str:
    if not weights.path.exists():
        return "no"
    return str(weights.path) if weights.verified() else f"damaged, download again: {weights.path}"
