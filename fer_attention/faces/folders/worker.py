"""From a portion of source files to crops on the disk and the rows that tell of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image

from fer_attention.atomic import write_atomically
from fer_attention.faces.cropper import FaceCropper, cut_face, select_faces
from fer_attention.faces.detectors import create_detector
from fer_attention.faces.detectors.whole_image import whole_image
from fer_attention.faces.face import Face
from fer_attention.faces.folders.listing import Job
from fer_attention.faces.folders.manifest import ManifestRow
from fer_attention.faces.folders.options import FolderOptions
from fer_attention.faces.images import ImageError, load_image
from fer_attention.preprocessing import CropRule

NO_FACE = "no face found"
NO_IMAGE = "not an image"

_PIXELS_AT_ONCE = 24_000_000  # 72 MB of RGB; at least one photo, however large


class FolderError(ValueError):
    """A photo that ends the run because the options say so."""


@dataclass
class ChunkWorker:
    """Detects, cuts and writes; every process of a run has its own.

    `source` is the folder that the names of jobs count from, `output` that of the crops.
    """

    source: Path
    output: Path
    options: FolderOptions
    device: str | torch.device

    @cached_property
    def cropper(self) -> FaceCropper:
        """Made with the first photo, in the process that needs it."""
        options = self.options
        detector = create_detector(options.detector, device=self.device, **options.detector_options)
        return FaceCropper(detector, rule=options.rule, size=options.size, faces=options.faces)

    def run(self, jobs: Sequence[Job]) -> list[ManifestRow]:
        """One row for each face or photo without one; the crops are on the disk when it returns.

        Raises:
            FolderError: A photo has no face, or cannot be read, and the options say that this ends the run.
        """
        rows: dict[str, list[ManifestRow]] = {}
        for portion in self._portions(jobs, rows):
            found = self.cropper.detector.detect([photo for _, photo in portion])
            for (job, photo), faces in zip(portion, found, strict=True):
                rows[job.name] = self._write(job, photo, faces)
        return [row for job in jobs for row in rows[job.name]]

    def _portions(
        self, jobs: Sequence[Job], rows: dict[str, list[ManifestRow]]
    ) -> Iterator[list[tuple[Job, Image.Image]]]:
        """Photos that fit into memory together; files that are none get their row here."""
        portion: list[tuple[Job, Image.Image]] = []
        pixels = 0
        for job in jobs:
            try:
                photo = self._read(job)
            except ImageError as error:
                rows[job.name] = [self._unreadable(job, error)]
                continue
            portion.append((job, photo))
            pixels += photo.width * photo.height
            if pixels >= _PIXELS_AT_ONCE:
                yield portion
                portion, pixels = [], 0
        if portion:
            yield portion

    def _read(self, job: Job) -> Image.Image:
        path = self.source / job.stamp.name
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise ImageError(f"Cannot read {str(path)!r}: it is no regular file.")
        return load_image(path, max_pixels=self.options.max_pixels)

    def _unreadable(self, job: Job, error: ImageError) -> ManifestRow:
        name = job.name
        Image.init()
        if Path(name).suffix.lower() not in Image.EXTENSION:
            return ManifestRow(name, reason=NO_IMAGE)
        if self.options.on_error == "raise":
            raise FolderError(f"{error} To list such files and go on: on_error='skip' (--on-error skip).")
        return ManifestRow(name, reason=str(error).replace(str(self.source / name), name))

    def _write(self, job: Job, photo: Image.Image, faces: Sequence[Face]) -> list[ManifestRow]:
        chosen = select_faces(faces, self.options.faces, image_size=photo.size)
        if not chosen:
            return [self._without_face(job, photo)]
        rows = []
        for number, face in enumerate(chosen, start=1):
            cut = self.cropper.cut(photo, face)
            crop = None
            if (reason := self.options.quality.reason(cut.quality)) is None:
                ending = f"-{number}" if self.options.faces == "all" else ""
                crop = self._save(f"{job.target}{ending}", cut.image)
            row = ManifestRow.of_photo(job.name, photo.size, reason=reason, crop=crop)
            rows.append(row.with_face(cut, number=number))
        return rows

    def _without_face(self, job: Job, photo: Image.Image) -> ManifestRow:
        name, options = job.name, self.options
        if options.missing == "raise":
            raise FolderError(
                f"{options.detector} finds no face in {name}. To go on without it: missing='skip' or 'whole' "
                "(--missing)."
            )
        if options.missing == "skip":
            return ManifestRow.of_photo(name, photo.size, reason=NO_FACE)
        rule = options.rule if options.rule.shape == "box" else CropRule()
        image, transform = cut_face(photo, whole_image(photo.size), rule, size=options.size)
        crop = self._save(job.target, image)
        row = ManifestRow.of_photo(name, photo.size, reason=f"{NO_FACE}: the whole image", crop=crop)
        return row.with_transform(transform)

    def _save(self, target: str, crop: Image.Image) -> str:
        path = self.output / f"{target}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        (crop.convert("L") if self.options.grey else crop).save(content, "PNG")
        write_atomically(path, content.getvalue())
        return f"{target}.png"
