"""`fer-attention data audit` and `fer-attention data split`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from fer_attention.atomic import write_atomically
from fer_attention.cli.choices import choices
from fer_attention.cli.common import counting, examples, make_parents, out
from fer_attention.cli.datasets import DATA_HELP, DataFormat, Labels, OnError, read

if TYPE_CHECKING:
    from fer_attention.data import DataAudit

data_app = typer.Typer(help="Audit data sets and split them.", no_args_is_help=True)

DataPath = Annotated[Path, typer.Argument(help=DATA_HELP)]


@data_app.command("audit", epilog=examples("fer-attention data audit fer2013.zip --json audit.json"))
def audit(
    path: DataPath,
    data_format: DataFormat = "auto",
    labels: Labels = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all findings.")] = None,
    near: Annotated[bool, typer.Option(help="Find near-duplicates, too.")] = True,
    threshold: Annotated[float, typer.Option(help="Correlation of near-duplicates, at least.")] = 0.95,
    on_error: OnError = "raise",
) -> None:
    """Report class balance, duplicates, contradicting labels, blank images and people in several splits."""
    from fer_attention.data import audit as look_through

    make_parents(json_file)
    data = read(path, data_format, on_error, labels)
    with counting("comparing") as on_progress:
        found = look_through(data, near=near, threshold=threshold, on_progress=on_progress)
    if json_file is not None:
        write_atomically(json_file, json.dumps(found.to_dict(), indent=1).encode())
    out.print(_class_table(found))
    out.print(_matrix("Identical images (on the diagonal: surplus copies)", found, found.copies()))
    if found.near is not None:
        out.print(_pair_table(found))
    out.print(_findings(found))


@data_app.command(
    "split",
    epilog=examples("fer-attention data split jaffe/ --protocol subject_kfold --output folds.json"),
)
def split(
    path: DataPath,
    protocol: Annotated[str, typer.Option(help=f"{choices('data.PROTOCOLS')}.")],
    output: Annotated[Path, typer.Option(help="JSON file for the folds, for train --protocol FILE.")],
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    folds: Annotated[int | None, typer.Option(help="Number of folds, for protocols that take one.")] = None,
    data_format: DataFormat = "auto",
    labels: Labels = None,
    on_error: OnError = "raise",
) -> None:
    """Split a data set into folds for training, validation and test, and save them by image name."""
    from fer_attention.data import create_protocol
    from fer_attention.data.splits import PARTS

    if output.suffix != ".json":
        raise ValueError(f"--output is a .json file, as --protocol FILE expects; got {output}.")
    make_parents(output)
    data = read(path, data_format, on_error, labels)
    options = {} if folds is None else {"folds": folds}
    made = create_protocol(protocol, data, seed=seed, **options)
    made.save(output, data)
    table = _table(f"{made.name} over {len(data)} images, seed {seed}", "fold", *PARTS)
    for fold in made.folds:
        table.add_row(fold.name, *(str(len(getattr(fold, part))) for part in PARTS))
    out.print(table)


def _table(title: str, first: str, *numbers: str) -> Table:
    right = [Column(heading, justify="right") for heading in numbers]
    return Table(first, *right, title=title, min_width=60)


def _class_table(found: DataAudit) -> Table:
    classes = found.classes()
    headings = [heading for name in classes for heading in (name, "%")]
    table = _table(f"{len(found.data)} images", "emotion", *headings)
    for label in found.data.label_names:
        cells = []
        for counts in classes.values():
            cells += [str(counts[label]), f"{100 * counts[label] / max(1, sum(counts.values())):.1f}"]
        table.add_row(label, *cells)
    table.add_section()
    table.add_row("all", *(cell for c in classes.values() for cell in (str(sum(c.values())), "")))
    return table


def _matrix(title: str, found: DataAudit, counts: dict[tuple[str, str], int]) -> Table:
    table = _table(title, "images of", *(f"in {name}" for name in found.splits))
    for b in found.splits:
        table.add_row(b, *(str(counts.get((a, b), 0)) for a in found.splits))
    return table


def _pair_table(found: DataAudit) -> Table:
    title = f"Near-duplicates: correlation from {found.threshold:g}"
    table = _table(title, "splits", "pairs")
    for (a, b), count in found.near_copies().items():
        table.add_row(f"within {a}" if a == b else f"{a} and {b}", str(count))
    return table


def _findings(found: DataAudit) -> Table:
    names = found.data.names
    table = _table("Findings", "what", "count")
    table.add_column("such as", overflow="fold")
    conflicts = found.conflicts()
    example = "\n".join(names[list(conflicts[0][:2])]) if conflicts else ""
    table.add_row("groups of identical images with several labels", str(len(conflicts)), example)
    if found.near is not None:
        pairs = found.near_conflicts()
        example = f"{names[pairs[0].first]}\n{names[pairs[0].second]}" if pairs else ""
        table.add_row("near-duplicates with two labels", str(len(pairs)), example)
    table.add_row("blank images", str(len(found.blank)), "\n".join(names[list(found.blank[:2])]))
    for what, values in found.shared.items():
        table.add_row(f"{what} in several splits", str(len(values)), ", ".join(values[:3]))
    if found.data.skipped:
        example = "\n".join(name for name, _ in found.data.skipped[:3])
        table.add_row("skipped files", str(len(found.data.skipped)), example)
    return table
