"""Cropping of one chunk of source files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

import torch
from PIL import Image

from fer_attention.atomic import replacing
from fer_attention.faces.cropper import CroppedFace, FaceCropper, cut_face
from fer_attention.faces.detectors import create_detector
from fer_attention.faces.detectors.rotated import RotatedDetector
from fer_attention.faces.detectors.whole_image import whole_image
from fer_attention.faces.folders.listing import Job
from fer_attention.faces.folders.manifest import ManifestRow
from fer_attention.faces.folders.options import FolderOptions
from fer_attention.faces.images import ImageError, load_image
from fer_attention.faces.photo_files import is_image_name
from fer_attention.faces.portions import in_portions
from fer_attention.journal import inside
from fer_attention.preprocessing import CropRule

NO_FACE = "no face found"
NO_IMAGE = "not an image"


class FolderError(ValueError):
    """A photo that ends the run, as the options demand.

    >>> import tempfile
    >>> from fer_attention.faces.folders import crop_folder
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
    ...     Image.new("RGB", (64, 64)).save(f"{folder}/wall.jpg")
    ...     crop_folder(folder, f"{folder}/crops", FolderOptions("mtcnn", missing="raise"))
    Traceback (most recent call last):
    fer_attention.faces.folders.worker.FolderError: mtcnn found no face in wall.jpg. ...
    """


@dataclass
class ChunkWorker:
    """Detects, cuts and writes the faces of chunks; several threads may share one.

    `source` is the folder that the names of jobs are relative to, `output` that of the crops.
    """

    source: Path
    output: Path
    options: FolderOptions
    device: str | torch.device
    _cropper: FaceCropper | None = None
    _creating: Lock = field(default_factory=Lock)

    @property
    def cropper(self) -> FaceCropper:
        """Detector and crop rule, created with the first photo that needs them."""
        with self._creating:
            if self._cropper is None:
                options = self.options
                detector = create_detector(options.detector, device=self.device, **options.detector_options)
                if options.rotations:
                    detector = RotatedDetector(detector)
                rule, size, faces = options.rule, options.size, options.faces
                self._cropper = FaceCropper(detector, rule=rule, size=size, faces=faces)
            return self._cropper

    def run(self, jobs: Sequence[Job]) -> list[ManifestRow]:
        """Write the crops of some files and return one row for each face or photo without one.

        Raises:
            FolderError: A photo has no face or cannot be read, and the options end the run.
        """
        rows: dict[str, list[ManifestRow]] = {}

        def failed(job: Job, error: ImageError) -> None:
            rows[job.stamp.name] = [self._unreadable(job, error)]

        photos = ((job, self.source / job.stamp.name) for job in jobs)
        load = partial(load_image, max_pixels=self.options.max_pixels)
        for portion in in_portions(photos, load, failed):
            rows |= self._rows(portion)
        return [row for job in jobs for row in rows[job.stamp.name]]

    def _rows(self, portion: Sequence[tuple[Job, Image.Image]]) -> dict[str, list[ManifestRow]]:
        found = self.cropper.detector.detect([photo for _, photo in portion])
        return {
            job.stamp.name: self._write(job, photo, self.cropper.cut(photo, faces))
            or [self._without_face(job, photo)]
            for (job, photo), faces in zip(portion, found, strict=True)
        }

    def _unreadable(self, job: Job, error: ImageError) -> ManifestRow:
        name = job.name
        if not is_image_name(name):
            return ManifestRow(name, reason=NO_IMAGE)
        if self.options.on_error == "raise":
            raise FolderError(f"{error} To list such files and continue: on_error='skip' (--on-error skip).")
        return ManifestRow(name, reason=str(error).replace(str(self.source / name), name))

    def _write(self, job: Job, photo: Image.Image, cuts: Sequence[CroppedFace]) -> list[ManifestRow]:
        rows = []
        for number, cut in enumerate(cuts, start=1):
            crop = None
            if (reason := self.options.quality.reason(cut.quality)) is None:
                ending = f"-{number}" if self.options.faces == "all" else ""
                crop = self._save(f"{job.target}{ending}", cut.image)
            rows.append(ManifestRow(job.name, reason, crop, *photo.size).with_face(cut, number=number))
        return rows

    def _without_face(self, job: Job, photo: Image.Image) -> ManifestRow:
        name, options = job.name, self.options
        if options.missing == "raise":
            raise FolderError(
                f"{options.detector} found no face in {name}. Pass missing='skip' or 'whole' (--missing) to "
                "continue without it."
            )
        if options.missing == "skip":
            return ManifestRow(name, NO_FACE, None, *photo.size)
        rule = options.rule if options.rule.shape == "box" else CropRule()
        image, transform = cut_face(photo, whole_image(photo.size), rule, size=options.size)
        ending = "-0" if options.faces == "all" else ""  # no other photo's crop has this name
        crop = self._save(f"{job.target}{ending}", image)
        row = ManifestRow(name, f"{NO_FACE}: the whole image", crop, *photo.size)
        return row.with_transform(transform)

    def _save(self, target: str, crop: Image.Image) -> str:
        path = inside(self.output, f"{target}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            (crop.convert("L") if self.options.grey else crop).save(temporary)
        return f"{target}.png"
