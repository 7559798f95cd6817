"""`fer-attention faces`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from fer_attention.cli.choices import MAX_PIXELS
from fer_attention.cli.common import MACHINE, Device, counting, err, examples, fail, interruptions, out, say
from fer_attention.cli.datasets import OnError
from fer_attention.cli.detectors import (
    DetectorName,
    DetectorWeights,
    MinScore,
    Rotations,
    detector_options,
    no_face_hint,
)

if TYPE_CHECKING:
    from fer_attention.faces.folders import FolderResult

_NAMED = 5  # of each kind; the manifest has all


def _bound(what: str) -> typer.models.OptionInfo:
    """Create an option for a bound of the quality filter."""
    option: typer.models.OptionInfo = typer.Option(
        help=f"{what}; other faces are listed, not cropped.", rich_help_panel="Quality"
    )
    return option


EXAMPLES = examples(
    "fer-attention faces photos/ --output crops",
    "fer-attention faces photos/ --output crops --align --grey --size 48 --faces all --workers 4",
)


def faces(
    source: Annotated[Path, typer.Argument(help="A folder of photos, or one photo.")],
    output: Annotated[Path, typer.Option(help="Folder for the crops, in the same tree, and the manifest.")],
    detector: DetectorName = "mtcnn",
    detector_weights: DetectorWeights = None,
    min_score: MinScore = None,
    rotations: Rotations = False,
    size: Annotated[int, typer.Option(help="Side of the crops, pixels.")] = 80,
    shape: Annotated[
        str, typer.Option(help="square (as in FER2013), box (stretched, as in the paper) or aligned.")
    ] = "square",
    align: Annotated[bool, typer.Option("--align", help="The same as --shape aligned.")] = False,
    scale: Annotated[
        float | None, typer.Option(help="Factor of the crop's extent; by default 0.95 (square) or 1.")
    ] = None,
    border: Annotated[str, typer.Option(help="At the photo's border: clamp or pad.")] = "clamp",
    grey: Annotated[bool, typer.Option("--grey", help="Grey crops.")] = False,
    selection: Annotated[
        str, typer.Option("--faces", help="Of several faces: largest, central or all.")
    ] = "largest",
    missing: Annotated[
        str,
        typer.Option(help="Photos without a face: skip (and list), whole (use the whole photo) or raise."),
    ] = "skip",
    on_error: OnError = "raise",
    min_size: Annotated[float | None, _bound("Smallest shorter side of the box, pixels")] = None,
    min_sharpness: Annotated[float | None, _bound("Smallest sharpness")] = None,
    min_brightness: Annotated[float | None, _bound("Smallest mean grey value, 0 to 255")] = None,
    max_brightness: Annotated[float | None, _bound("Largest mean grey value, 0 to 255")] = None,
    max_yaw: Annotated[float | None, _bound("Largest turn of the head, degrees")] = None,
    max_roll: Annotated[float | None, _bound("Largest tilt of the head, degrees")] = None,
    max_pixels: Annotated[int, typer.Option(help="Larger images count as damaged.")] = MAX_PIXELS,
    manifest_format: Annotated[
        str, typer.Option("--format", help="Format of the manifest: csv or parquet.")
    ] = "csv",
    workers: Annotated[int, typer.Option(help="Number of threads.", rich_help_panel=MACHINE)] = 1,
    restart: Annotated[
        bool, typer.Option("--restart", help="First delete the crops of an earlier run.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Cut the faces out of a folder tree of photos.

    The same command resumes a stopped run. The exit code is 1 if image files could not be read.
    """
    from fer_attention.faces import CropRule, QualityFilter
    from fer_attention.faces.folders import FolderOptions, crop_folder

    if align and shape not in ("square", "aligned"):
        raise ValueError(f"--align and --shape {shape} contradict each other; use one of them.")
    options = FolderOptions(
        detector=detector,
        detector_options=detector_options(detector_weights, min_score),
        rotations=rotations,
        rule=CropRule(shape="aligned" if align else shape, scale=scale, border=border),  # type: ignore[arg-type]
        size=size,
        grey=grey,
        faces=selection,  # type: ignore[arg-type]
        quality=QualityFilter(min_size, min_sharpness, min_brightness, max_brightness, max_yaw, max_roll),
        missing=missing,  # type: ignore[arg-type]
        on_error=on_error,  # type: ignore[arg-type]
        max_pixels=max_pixels,
        manifest_format=manifest_format,  # type: ignore[arg-type]
    )
    with interruptions(output), counting("cutting") as on_progress:
        result = crop_folder(
            source, output, options, device=device, workers=workers, restart=restart, on_progress=on_progress
        )
    _print(result)
    if result.without_face:
        say(no_face_hint(detector, len(result.without_face), result.photos), err)
    if not result.photos:
        fail("no image was found. For videos, use fer-attention video.")
    if result.unreadable:
        fail(f"{len(result.unreadable)} images could not be read; {result.manifest} lists the reasons.")
    if result.unreadable or not result.photos:
        raise typer.Exit(1)


def _print(result: FolderResult) -> None:
    table = Table("what", Column("count", justify="right"), Column("such as", overflow="fold"))
    table.add_row("images", str(result.photos), "")
    table.add_row("crops", str(result.crops), "")
    for what, found in (
        ("without a face", result.without_face),
        ("faces below the bounds", [f"{name}: {reason}" for name, reason in result.filtered]),
        ("unreadable", [f"{name}: {reason}" for name, reason in result.unreadable]),
        ("other files", result.not_images),
    ):
        if found:
            table.add_row(what, str(len(found)), "\n".join(found[:_NAMED]))
    out.print(table)
    say(f"manifest: {result.manifest}")
