"""`fer-attention models`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import track
from rich.table import Table

from fer_attention.cli.common import err, errors_as_lines, out
from fer_attention.evaluation import complexity
from fer_attention.models import ModelSpec, list_models
from fer_attention.models.factory import from_spec


def models(
    pattern: Annotated[str, typer.Argument(help="Shell wildcard, such as '*_cbam_elu', or a name.")] = "*",
    img_size: Annotated[int, typer.Option(help="Height and width of the input, pixels.")] = 48,
    in_chans: Annotated[int, typer.Option(help="Input channels.")] = 1,
) -> None:
    """List model names with their parameters and multiply-accumulates."""
    names = list_models(pattern) or [pattern]  # names with other activations are not listed, but parse
    table = Table(caption=f"one {in_chans}×{img_size}×{img_size} input, 7 classes; {len(names)} models")
    table.add_column("model")
    for heading in ("parameters, M", "MACs, M", "activations, M"):
        table.add_column(heading, justify="right")
    with errors_as_lines():
        for name in track(names, "counting", console=err, disable=len(names) < 9, transient=True):
            spec = ModelSpec.parse(name, img_size=img_size, in_chans=in_chans)
            costs = complexity(from_spec(spec, device="meta"))
            counts = (costs.parameters, costs.macs, costs.activations)
            table.add_row(name, *(f"{count / 1e6:.2f}" for count in counts))
    out.print(table)
