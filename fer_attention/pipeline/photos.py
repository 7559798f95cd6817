"""Many photos to many answers: read, find faces, classify, in threads and in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image

from fer_attention.faces import Face, select_faces
from fer_attention.faces.cropper import FaceSelection
from fer_attention.faces.images import ImageError, ImageSource, borrow_image
from fer_attention.faces.portions import in_portions
from fer_attention.pipeline.results import PhotoPrediction, source_name
from fer_attention.registry import check_choice
from fer_attention.threads import default_workers, in_chunks, map_in_threads

if TYPE_CHECKING:
    from fer_attention.recognizer import EmotionRecognizer

Numbered: TypeAlias = tuple[int, ImageSource]
"""A photo with its number in the stream, from 1."""

CHUNK = 8
"""Photos that a thread takes at once: detectors are faster on several of one size."""


@dataclass(frozen=True)
class PhotoOptions:
    """Options of a stream of photos.

    Args:
        on_error: A photo that cannot be read ends the stream ("raise") or is answered by an `error` ("skip").
        faces: Selection among several faces of a photo: "all", the "largest" or the most "central".
        min_size: Shorter side of the smallest faces that count, in pixels of the photo.
        keep_images: Whether answers hold their photos.

    Raises:
        ValueError: A name is unknown or a number is out of range.
    """

    on_error: str = "raise"
    faces: FaceSelection = "all"
    min_size: float = 0
    keep_images: bool = False

    def __post_init__(self) -> None:
        check_choice("on_error", self.on_error, ("raise", "skip"))
        select_faces([], self.faces, image_size=(1, 1))
        if not 0 <= self.min_size < float("inf"):
            raise ValueError(f"min_size is a length of at least 0 pixels; got {self.min_size}.")


@dataclass(frozen=True)
class PhotoWorker:
    """Recognises chunks of photos; several threads may share one."""

    recognizer: EmotionRecognizer
    options: PhotoOptions = field(default_factory=PhotoOptions)

    def __call__(self, chunk: Sequence[Numbered]) -> list[PhotoPrediction | ImageError]:
        """Answer each photo of a chunk, or return the error with which it could not be read."""
        answers = dict(self.stream(chunk))
        return [answers[number] for number, _ in chunk]

    def stream(self, chunk: Sequence[Numbered]) -> Iterator[tuple[int, PhotoPrediction | ImageError]]:
        """Yield numbers and answers as they are ready: those of one large photo before the next is read."""
        sources = dict(chunk)
        failed: list[tuple[int, ImageError]] = []
        for portion in in_portions(chunk, borrow_image, lambda *failure: failed.append(failure)):
            yield from self._answers(portion, sources)
        for number, error in failed:
            answer = PhotoPrediction(source_name(sources[number], number), None, error=str(error))
            yield number, error if self.options.on_error == "raise" else answer

    def _answers(
        self, portion: Sequence[tuple[int, Image.Image]], sources: Mapping[int, ImageSource]
    ) -> list[tuple[int, PhotoPrediction]]:
        images = [image for _, image in portion]
        found = self.recognizer.detector.detect(images)
        chosen = [self._select(faces, image) for faces, image in zip(found, images, strict=True)]
        pairs = [(image, face) for image, faces in zip(images, chosen, strict=True) for face in faces]
        predictions = iter(self.recognizer.classify_all(pairs))
        keep = self.options.keep_images
        return [
            (
                number,
                PhotoPrediction(
                    source_name(sources[number], number),
                    image.size,
                    tuple(next(predictions) for _ in faces),
                    image=image if keep else None,
                ),
            )
            for (number, image), faces in zip(portion, chosen, strict=True)
        ]

    def _select(self, faces: Iterable[Face], image: Image.Image) -> list[Face]:
        large = [face for face in faces if min(face.width, face.height) >= self.options.min_size]
        return select_faces(large, self.options.faces, image_size=image.size)


def predict_photos(
    photos: Iterable[ImageSource], worker: PhotoWorker, *, workers: int | None = None
) -> Iterator[PhotoPrediction]:
    """Recognise photos in threads; answers come in the order of the photos.

    Args:
        photos: Any number of photos; they are read only as they are needed.
        worker: Recognises chunks of them.
        workers: Number of threads; by default one for each core, at most eight.

    Raises:
        ImageError: A photo cannot be read, and the worker's options demand an error.
        ValueError: `workers` is below 1.
    """
    threads = default_workers() if workers is None else workers
    if threads < 1:
        raise ValueError(f"workers is at least 1; got {workers}.")
    for answers in map_in_threads(worker, in_chunks(enumerate(photos, start=1), CHUNK), workers=threads):
        for answer in answers:
            if isinstance(answer, ImageError):
                raise answer
            yield answer
