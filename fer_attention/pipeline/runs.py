"""Runs over many photo files that are resumed where they stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fer_attention.atomic import leftovers, replacing, shortened
from fer_attention.faces import annotate
from fer_attention.faces.images import ImageError
from fer_attention.journal import JournalFile, inside
from fer_attention.pipeline.photos import CHUNK, PhotoWorker, predict_photos
from fer_attention.pipeline.results import PhotoPrediction, source_name
from fer_attention.threads import in_chunks, map_in_threads

JOURNAL = ".predict.jsonl"

Record: TypeAlias = dict[str, Any]
Stamp: TypeAlias = tuple[str, int, int]
"""A photo's path, its size in bytes, and the time of its last change in nanoseconds."""


def captions(prediction: PhotoPrediction) -> list[str]:
    """Return a caption for each face."""
    return [face.caption for face in prediction.faces]


def stamp_of(photo: Path) -> Stamp:
    """Return the identity of a photo file; a file that does not exist has size -1."""
    name = source_name(photo.absolute(), 0)
    try:
        facts = photo.stat()
    except OSError:
        return (name, -1, 0)
    return (name, facts.st_size, facts.st_mtime_ns)


@dataclass(frozen=True)
class _Job:
    stamp: Stamp
    photo: Path
    picture: Path | None


def photo_records(photos: Sequence[Path], worker: PhotoWorker, *, workers: int) -> Iterator[Record]:
    """Yield the record of each photo, in order.

    Raises:
        ImageError: A photo cannot be read, and the worker's options demand an error.
    """
    for answer in predict_photos(photos, worker, workers=workers):
        yield answer.to_dict()


class PhotoRun:
    """Annotated pictures of photos in a folder, with a journal of what is done.

    Photos that the journal has under the same options, unchanged and with their pictures, are not done again.
    A picture never takes the place of a file that was not written by such a run.

    Args:
        folder: The output folder; it is made.
        options: All that decides the answers, of types that JSON has.
        pictures: Whether to write annotated pictures.

    Raises:
        ValueError: Another run is writing to the folder, or its journal is damaged.
    """

    def __init__(self, folder: Path, options: Record, *, pictures: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._pictures = pictures
        text = json.dumps(options, sort_keys=True)
        self._options = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._journal = JournalFile(folder / JOURNAL)
        self._names: dict[str, str] = {}
        self._done: dict[Stamp, Record] = {}
        try:
            self._resume()
        except BaseException:
            self._journal.close()
            raise

    def _resume(self) -> None:
        try:
            for entry in self._journal.entries:
                self._names |= {photo: os.fspath(name) for photo, name in entry.get("names", {}).items()}
                done = {(name, *facts): dict(record) for (name, *facts), record in entry.get("done", ())}
                if entry.get("options") == self._options:
                    self._done |= done
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{self._journal.path} is damaged: {error!r}. Choose a new folder.") from error
        pictures = [inside(self.folder, name) for name in self._names.values()]
        for half_written in leftovers(self.folder, ".png", of=pictures):
            half_written.unlink(missing_ok=True)

    @property
    def own_files(self) -> list[Path]:
        """Pictures of this and earlier runs; they are not photos."""
        return [self.folder / name for name in self._names.values()]

    def records(self, photos: Sequence[Path], worker: PhotoWorker, *, workers: int) -> Iterator[Record]:
        """Yield the record of each photo, in order; only what is not done yet is done.

        Args:
            photos: The files.
            worker: Recognises chunks of photos; its answers hold their images where pictures are written.
            workers: Number of threads.

        Raises:
            ImageError: A photo cannot be read, and the worker's options demand an error.
        """
        jobs = self._jobs(photos)
        done = {job.stamp: self._done[job.stamp] for job in jobs if self._is_done(job)}
        fresh = self._fresh([job for job in jobs if job.stamp not in done], worker, workers)
        for job in jobs:
            if job.stamp in done:
                yield done[job.stamp] | {"image": source_name(job.photo, 0)}
            else:
                yield next(fresh)

    def _fresh(self, jobs: Sequence[_Job], worker: PhotoWorker, workers: int) -> Iterator[Record]:
        def work(chunk: Sequence[_Job]) -> list[Record | ImageError]:
            numbered = [(number, job.photo) for number, job in enumerate(chunk)]
            records = {number: self._written(chunk[number], one) for number, one in worker.stream(numbered)}
            return [records[number] for number, _ in numbered]

        chunks = list(in_chunks(jobs, CHUNK))
        for chunk, answers in zip(chunks, map_in_threads(work, chunks, workers=workers), strict=True):
            sound = [
                [job.stamp, record]
                for job, record in zip(chunk, answers, strict=True)
                if isinstance(record, dict) and "error" not in record
            ]
            self._journal.append({"options": self._options, "done": sound})
            for answer in answers:
                if isinstance(answer, ImageError):
                    raise answer
                yield answer

    def _written(self, job: _Job, answer: PhotoPrediction | ImageError) -> Record | ImageError:
        """Write the picture of an answer and return its record; an error is returned unchanged."""
        if isinstance(answer, ImageError):
            return answer
        record = answer.to_dict()
        if job.picture is not None and answer.image is not None:
            with replacing(job.picture) as temporary:
                faces = [face.face for face in answer.faces]
                annotate(answer.image, faces, captions(answer)).save(temporary, "PNG")
        return record

    def _jobs(self, photos: Sequence[Path]) -> list[_Job]:
        """Name the pictures of new photos; their names are in the journal before the first is written."""
        stamps = list(map(stamp_of, photos))
        if not self._pictures:
            return [_Job(stamp, photo, None) for stamp, photo in zip(stamps, photos, strict=True)]
        taken = {name.lower() for name in self._names.values()}
        new = {}
        for (name, _, _), photo in zip(stamps, photos, strict=True):
            if name not in self._names and name not in new:
                new[name] = self._free_name(_stem(photo), taken)
        if new:
            self._journal.append({"names": new})
            self._names |= new
        pictures = [self.folder / self._names[name] for name, _, _ in stamps]
        return list(map(_Job, stamps, photos, pictures))

    def _free_name(self, stem: str, taken: set[str]) -> str:
        name, number = f"{stem}.png", 1
        while name.lower() in taken or (self.folder / name).exists():
            number += 1
            name = f"{stem}_{number}.png"
        taken.add(name.lower())
        return name

    def _is_done(self, job: _Job) -> bool:
        return job.stamp in self._done and (job.picture is None or job.picture.is_file())

    def __enter__(self) -> PhotoRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()


def _stem(photo: Path) -> str:
    """Return a photo's name without suffix, short enough that its temporary name is valid, too."""
    stem = source_name(photo, 0).rpartition("/")[2]
    return shortened(Path(stem).stem.lstrip(".") or "photo", 200)
