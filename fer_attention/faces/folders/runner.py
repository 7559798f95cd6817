"""Resumable cropping of a folder tree of photos to the same tree of crops, with a manifest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fer_attention.faces.folders.journal import Journal, Stamp
from fer_attention.faces.folders.listing import Job, chunks, list_jobs
from fer_attention.faces.folders.manifest import ManifestRow, check_parquet, write_manifest
from fer_attention.faces.folders.options import FolderOptions
from fer_attention.faces.folders.worker import NO_FACE, NO_IMAGE, ChunkWorker
from fer_attention.threads import map_in_threads


@dataclass(frozen=True)
class FolderResult:
    """Result of cropping a folder.

    >>> rows = (ManifestRow("one.jpg", crop="one.png"), ManifestRow("wall.jpg", "no face found"))
    >>> result = FolderResult(Path("crops/manifest.csv"), rows)
    >>> result.crops, result.without_face
    (1, ['wall.jpg'])

    Attributes:
        manifest: The file that lists every face and every photo without one.
        rows: The rows of the manifest, sorted by source.
    """

    manifest: Path
    rows: tuple[ManifestRow, ...]

    @property
    def crops(self) -> int:
        """Number of crops."""
        return sum(row.crop is not None for row in self.rows)

    @property
    def without_face(self) -> list[str]:
        """Photos in which no face was found."""
        return [row.source for row in self.rows if row.reason and row.reason.startswith(NO_FACE)]

    @property
    def filtered(self) -> list[tuple[str, str]]:
        """Photos of the faces that failed the quality filter, with the reason."""
        return [(row.source, row.reason) for row in self.rows if row.face and row.reason]

    @property
    def not_images(self) -> list[str]:
        """Files without the suffix of an image that are not images."""
        return [row.source for row in self.rows if row.reason == NO_IMAGE]

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """Image files that could not be read, with the reason."""
        return [
            (row.source, row.reason)
            for row in self.rows
            if row.reason and row.width is None and row.reason != NO_IMAGE
        ]

    @property
    def photos(self) -> int:
        """Number of image files, readable or not."""
        return len({row.source for row in self.rows if row.reason != NO_IMAGE})


def crop_folder(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: FolderOptions | None = None,
    *,
    device: str | torch.device = "auto",
    workers: int = 1,
    restart: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> FolderResult:
    """Cut the faces out of all photos in a folder tree.

    Crops are PNG files in the same tree below `output`, named like their photos (and numbered if all faces
    are cut), with `manifest.csv` or `manifest.parquet`. A stopped run resumes: only new and changed photos
    are processed, and the crops of removed photos are deleted. The result is that of an uninterrupted run.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (64, 64)).save(f"{folder}/one.jpg")
    ...     result = crop_folder(folder, f"{folder}/crops", FolderOptions("none"))
    >>> result.crops, result.rows[0].crop
    (1, 'one.png')

    Args:
        source: A folder of photos, or one photo.
        output: The folder of the crops: new, empty, or that of an earlier run with the same options.
        options: By default `FolderOptions()`.
        device: Device of the detector.
        workers: Number of threads.
        restart: Remove the crops, manifest and journal of an earlier run in `output` first.
        on_progress: Called with the number of processed files and of all files.

    Raises:
        FileNotFoundError: The source does not exist.
        ValueError: The source contains no file, the output contains other files or a run with other options,
            another run is writing to it, or workers is below 1.
        FolderError: A photo ends the run, as the options demand; crops made before are saved.
        ImportError: A library that the detector or the manifest needs is not installed.
    """
    source, output, options = Path(source), Path(output), options or FolderOptions()
    if workers < 1:
        raise ValueError(f"workers is at least 1; got {workers}.")
    if options.manifest_format == "parquet":
        check_parquet()
    work = chunks(list_jobs(source, output))
    output.mkdir(parents=True, exist_ok=True)
    worker = ChunkWorker(source if source.is_dir() else source.parent, output, options, device)
    report = on_progress or (lambda done, total: None)
    total = sum(map(len, work))
    with Journal(output, options.record(), restart=restart) as journal:
        left = [chunk for chunk in work if not _is_done(journal, chunk, output)]
        done = total - sum(map(len, left))
        report(done, total)
        _remove_stale_crops(journal, work, output)
        for chunk, rows in zip(left, map_in_threads(worker.run, left, workers=workers), strict=True):
            journal.add(_stamps(chunk), rows)
            done += len(chunk)
            report(done, total)
        rows = [row for chunk in work for row in journal.done[_stamps(chunk)]]
    rows.sort(key=lambda row: (row.source, row.face or 0))
    manifest = output / f"manifest.{options.manifest_format}"
    write_manifest(manifest, rows)
    return FolderResult(manifest, tuple(rows))


def _stamps(chunk: Sequence[Job]) -> tuple[Stamp, ...]:
    return tuple(job.stamp for job in chunk)


def _is_done(journal: Journal, chunk: Sequence[Job], output: Path) -> bool:
    rows = journal.done.get(_stamps(chunk))
    return rows is not None and all((output / row.crop).is_file() for row in rows if row.crop)


def _remove_stale_crops(journal: Journal, work: Sequence[Sequence[Job]], output: Path) -> None:
    """Remove the crops of photos that were removed or changed since."""
    current = {_stamps(chunk) for chunk in work}
    crops = Counter(row.crop for stamps in current for row in journal.done.get(stamps, ()))
    for stamps in [stamps for stamps in journal.done if stamps not in current]:
        for row in journal.done.pop(stamps):
            if row.crop and not crops[row.crop]:
                (output / row.crop).unlink(missing_ok=True)
