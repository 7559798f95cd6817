"""`fer-attention predict`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from fer_attention.cli.choices import DEFAULT_WEIGHTS
from fer_attention.cli.common import MACHINE, Device, err, examples, fail, out, progress, say
from fer_attention.cli.datasets import OnError
from fer_attention.cli.detectors import (
    DetectorName,
    DetectorWeights,
    MinScore,
    Rotations,
    WeightsName,
    load_recognizer,
    no_face_hint,
)
from fer_attention.registry import unknown_name

if TYPE_CHECKING:
    from fer_attention.pipeline.photos import PhotoWorker

RUNNERS = ("local", "ray")
_SHOWN = 1000  # rows of the table; result files have all
_RESULTS = "Results"

EXAMPLES = examples(
    "fer-attention predict --sample",
    "fer-attention predict photo.jpg",
    "fer-attention predict photos/ --output annotated --csv faces.csv",
    "fer-attention predict photos/ --json - --quiet --on-error skip | jq '.[].faces'",
    "fer-attention predict s3://bucket/photos --runner ray --address auto --parquet s3://bucket/faces",
    "fer-attention predict photo.jpg --detector yunet --weights resnetv2_18_eca_elu.fer2013",
)


def _file(form: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        form, help="File for all results; - is standard output.", metavar="FILE", rich_help_panel=_RESULTS
    )
    return option


def predict(
    photos: Annotated[
        list[str] | None,
        typer.Argument(help="Photos, or folders of photos.", metavar="PHOTO...", show_default=False),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="The photo that comes with the package (NASA, public domain).")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for annotated pictures; a stopped run resumes.", rich_help_panel=_RESULTS),
    ] = None,
    pictures: Annotated[
        bool, typer.Option(help="Write annotated pictures to --output.", rich_help_panel=_RESULTS)
    ] = True,
    json_file: Annotated[str | None, _file("--json")] = None,
    jsonl_file: Annotated[str | None, _file("--jsonl")] = None,
    csv_file: Annotated[str | None, _file("--csv")] = None,
    parquet_file: Annotated[str | None, _file("--parquet")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No table.", rich_help_panel=_RESULTS)] = False,
    weights: WeightsName = DEFAULT_WEIGHTS,
    detector: DetectorName = "mtcnn",
    detector_weights: DetectorWeights = None,
    min_score: MinScore = None,
    rotations: Rotations = False,
    faces: Annotated[str, typer.Option(help="Of several faces: all, largest or central.")] = "all",
    min_size: Annotated[float, typer.Option(help="Shorter side of the smallest faces, pixels.")] = 0,
    on_error: OnError = "raise",
    workers: Annotated[
        int | None,
        typer.Option(help="Threads; by default one for each core.", min=1, rich_help_panel=MACHINE),
    ] = None,
    device: Device = "auto",
    runner: Annotated[
        str,
        typer.Option(
            help="local, or ray: a Ray cluster, which writes a folder of files to --parquet.",
            rich_help_panel=MACHINE,
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="Address of a running Ray cluster, or auto.", rich_help_panel=MACHINE),
    ] = None,
) -> None:
    """Recognise the expressions of all faces in photos.

    A photo that cannot be read ends the command. With --on-error skip it is reported, and the
    exit code is 1. Result files hold the finished photos in any case. With --output, the same command resumes
    a stopped run and analyses new and changed photos only.

    With --runner ray, photos may be addresses such as s3://bucket/photos, and those that cannot be read are
    rows with an error.
    """
    from fer_attention.faces import ImageError
    from fer_attention.faces.photo_files import list_photos
    from fer_attention.pipeline.photos import PhotoOptions, PhotoWorker
    from fer_attention.pipeline.runs import PhotoRun, photo_records
    from fer_attention.pipeline.writers import check_targets, open_writers
    from fer_attention.samples import sample_photo
    from fer_attention.threads import default_workers

    wanted = [*(photos or ()), *([sample_photo()] if sample else ())]
    if not wanted:
        raise ValueError("Name a photo or a folder of photos, or add --sample for the photo of the package.")
    named = {"json": json_file, "jsonl": jsonl_file, "csv": csv_file, "parquet": parquet_file}
    targets = {kind: target for kind, target in named.items() if target is not None}
    if runner not in RUNNERS:
        raise unknown_name("runner", runner, RUNNERS)
    if runner == "ray" and (output is not None or set(targets) != {"parquet"}):
        raise ValueError(
            "--runner ray writes a folder of Parquet files, and nothing else: use --parquet FOLDER."
        )
    if runner == "local" and address is not None:
        raise ValueError("--address is that of a Ray cluster: add --runner ray.")
    if runner == "local":
        check_targets(targets)
    options = PhotoOptions(on_error, faces, min_size, keep_images=pictures and output is not None)  # type: ignore[arg-type]
    recognizer = load_recognizer(weights, detector, detector_weights, min_score, device, rotations=rotations)
    worker, threads = PhotoWorker(recognizer, options), workers or default_workers()
    if runner == "ray":
        _on_cluster([*map(str, wanted)], targets["parquet"], worker, workers, address, detector)
        return
    answers = _Answers({str(sample_photo()): "the sample"})
    with ExitStack() as stack:
        run = None
        if output is not None:
            decisive: dict[str, Any] = {"detector": detector, "min_score": min_score}
            decisive |= {"weights": _digest(weights), "detector_weights": _digest(detector_weights)}
            decisive |= {"faces": faces, "min_size": min_size, "rotations": rotations}
            run = stack.enter_context(PhotoRun(output, decisive, pictures=pictures))
        found = list_photos(map(Path, wanted), without=run.own_files if run else ())
        records = (run.records if run else photo_records)(found.photos, worker, workers=threads)
        add = stack.enter_context(open_writers(targets, recognizer.labels))
        try:
            for record in progress(records, "recognising", len(found.photos)):
                add(record)
                answers.add(record)
        except ImageError as error:
            raise ValueError(f"{error} To continue with the others, add --on-error skip.") from error
    if not quiet:
        (err if "-" in targets.values() else out).print(answers.table())
    if found.others:
        some = ", ".join(file.name for file in found.others[:3])
        say(f"left out, not images: {len(found.others)} ({some}{', …' * (len(found.others) > 3)})", err)
    if answers.without_face:
        say(no_face_hint(detector, answers.without_face, answers.read), err)
    if answers.failed:
        fail(f"{answers.failed} of {len(found.photos)} photos could not be read.")
        raise typer.Exit(1)


def _on_cluster(
    photos: list[str],
    output: str,
    worker: PhotoWorker,
    actors: int | None,
    address: str | None,
    detector: str,
) -> None:
    from fer_attention.pipeline.cluster import list_addresses, predict_on_cluster

    found = list_addresses(photos)
    result = predict_on_cluster(found, output, worker, actors=actors, address=address)
    say(f"{result.photos} photos, rows in {output}")
    if result.without_face:
        say(no_face_hint(detector, result.without_face, result.photos - result.failed), err)
    if result.failed:
        fail(f"{result.failed} of {result.photos} photos could not be read; their rows have the error.")
        raise typer.Exit(1)


def _digest(weights: str | Path | None) -> str | None:
    """Return the digest of a weights file, or the name of weights that are not a file here."""
    from fer_attention.digests import file_sha256
    from fer_attention.models.bundled import weights_path

    if weights is None:
        return None
    path = weights_path(weights)
    return file_sha256(path) if path.is_file() else str(weights)


class _Answers:
    """Counts and a table of the answers.

    Args:
        names: What the table calls some photos.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self.read = self.without_face = self.failed = 0
        self._rows: list[tuple[str, ...]] = []

    def add(self, record: dict[str, Any]) -> None:
        from fer_attention.calibration import answer_of

        if "error" in record:
            self.failed += 1
            fail(f"{record['error']} Skipped.")
            return
        self.read += 1
        self.without_face += not record["faces"]
        if len(self._rows) >= _SHOWN:
            return
        photo = self._names.get(record["image"], record["image"])
        if not record["faces"]:
            self._rows.append((photo, "none found"))
        for number, face in enumerate(record["faces"], start=1):
            box = " ".join(f"{value:.0f}" for value in face["box"])
            share = f"{face['probabilities'][face['emotion']]:.0%}"
            name = photo if number == 1 else ""
            self._rows.append((name, str(number), box, answer_of(face["candidates"]), share))

    def table(self) -> Table:
        headings = ("face", "box", "emotion", "probability")
        columns = (Column(heading, no_wrap=True) for heading in headings)
        table = Table(Column("photo", overflow="fold"), *columns)
        for row in self._rows:
            table.add_row(*row)
        if len(self._rows) >= _SHOWN:
            table.caption = f"The first {_SHOWN} rows; --csv FILE has all."
        return table
