"""Labelled image files, however they were found, read into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_attention.bounded import cut
from fer_attention.data.files import ImageFiles, check_form
from fer_attention.data.labels import LabelMap, order_of
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import Crop, PathLike, Pixels, Rows, Source, face_of
from fer_attention.faces.decoding import MAX_PIXELS, open_image


@dataclass(frozen=True)
class Item:
    """One image file of a source.

    Attributes:
        name: Its name in the source.
        label: Its label, as the data set writes it.
        split: Its split.
    """

    name: str
    label: str
    split: str


@dataclass(frozen=True)
class ImageForm:
    """Form of the images in the record; the parameters of the readers of image files.

    Raises:
        ValueError: The size or the number of channels cannot be, or streamed images would be cropped.
    """

    size: tuple[int, int] = (48, 48)
    channels: int = 1
    stream: bool = False
    crop: Crop | None = None

    def __post_init__(self) -> None:
        check_form(self.size, self.channels)
        if self.stream and self.crop is not None:
            raise ValueError("crop= needs images in memory: pass stream=False.")

    def check_source(self, source: Source, path: PathLike) -> None:
        """Raise a ValueError if images are to be streamed from an archive."""
        if self.stream and not source.path.is_dir():
            raise ValueError(f"stream=True needs a folder; unpack {path} first, or pass stream=False.")


def read_items(
    source: Source,
    rows: Rows,
    items: Sequence[Item],
    labels: LabelMap,
    form: ImageForm,
    *,
    label_names: Sequence[str] | None = None,
    missing: str,
) -> FaceDataset:
    """Read the images of items; those whose label is left out are listed in `skipped`.

    Args:
        source: Where the images are.
        rows: Gathers them.
        items: The images.
        labels: Emotions of their labels.
        form: Size and channels of the images.
        label_names: Emotions in the wanted order; None takes those that occur.
        missing: Error message for a data set without images, without its full stop.

    Raises:
        DataError: An image cannot be used, or there is none.
        ValueError: `label_names` repeats itself.
    """
    labelled: list[tuple[Item, str]] = []
    for item in items:
        with rows.reading(item.name):
            if (emotion := labels[item.label]) is None:
                rows.skipped.append((item.name, f"its label {item.label!r} is left out"))
            else:
                labelled.append((item, emotion))
    names = order_of({emotion for _, emotion in labelled}, label_names)
    wanted = []
    for item, emotion in labelled:
        with rows.reading(item.name):
            if emotion not in names:
                raise DataError(f"its emotion {emotion!r} is not one of {', '.join(names)}.")
            wanted.append((item, names.index(emotion)))
    rows.check()  # labels and splits of all images, before the first is decoded
    for item, label in wanted:
        with rows.reading(item.name):
            rows.add(item.name, _image(source, item.name, form), label, split=item.split)

    def files(paths: list[Path]) -> ImageFiles:
        return ImageFiles(tuple(paths), form.size, form.channels)

    rows.layout = labels.described(item.label for item, _ in labelled)
    return rows.faces(names, missing=missing, pack=files if form.stream else np.stack)


def _image(source: Source, name: str, form: ImageForm) -> Pixels | Path:
    if not form.stream:
        return face_of(source.image(name), size=form.size, channels=form.channels, crop=form.crop)
    path = source.path / name
    try:
        with open_image(path, max_pixels=MAX_PIXELS):
            return path
    except Exception as error:  # Pillow's readers have no common error class
        raise DataError(f"not an image: {cut(str(error))}") from error
