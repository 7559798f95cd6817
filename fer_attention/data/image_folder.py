"""Folders of images, one an emotion: `<emotion>/*.jpg`, or `<split>/<emotion>/*.jpg`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from fer_attention.data.files import ImageFiles, check_form
from fer_attention.data.loading import FALLBACK, reader
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import OnError, PathLike, Pixels, Rows, Source, face_of, open_source
from fer_attention.emotions import LABEL_SETS, canonical

SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "public": "public",
    "private": "private",
}
LAYOUTS = "<emotion>/<image> or <split>/<emotion>/<image>, with the splits " + ", ".join(SPLITS)


def recognises(source: Source) -> bool:
    """Return whether the images lie in folders, of emotions or of splits with emotions."""
    try:
        depth = _depth(source)
    except DataError:
        return False
    return depth == 2 or any(_split(name) in SPLITS for name in source.images())


@reader(FALLBACK, recognises=recognises, layout=LAYOUTS, splits=("all", *dict.fromkeys(SPLITS.values())))
def load_image_folder(
    path: PathLike,
    *,
    size: tuple[int, int] = (48, 48),
    channels: int = 1,
    label_names: Sequence[str] | None = None,
    stream: bool = False,
    on_error: OnError = "raise",
) -> FaceDataset:
    """Load the images of a folder, upright and resized, labelled by the names of their folders.

    Args:
        path: The folder that holds those of the emotions or splits, or a zip file of it.
        size: (H, W) that every image is resized to, pixels.
        channels: 1 grey, 3 RGB.
        label_names: The emotions in the wanted order, in any spelling that `emotions.canonical` knows. None
            takes the folders that hold images: in FER2013's, FER+'s or CK+'s order where they are exactly the
            emotions of that set, else sorted.
        stream: Whether the images stay on the disk until their rows are asked for, as `ImageFiles`. Each
            file is opened here all the same, so that foreign ones show early; but only its header is read, so
            that a file with a whole header and damaged pixels fails when its row is read.
        on_error: `"raise"` on the first file that cannot be used, or `"skip"` it and list it in `skipped`.

    Raises:
        DataError: Nothing is there, images lie at mixed depths, or a file is damaged or of no known emotion
            or split.
        ValueError: The size or channels cannot be, `label_names` repeats itself, or a zip file is to be
            streamed.
    """
    check_form(size, channels)
    rows = Rows(path, on_error)
    with open_source(path, expected=f"Expected {LAYOUTS}.") as source:
        if stream and not source.path.is_dir():
            raise ValueError(f"stream=True needs a folder; unpack {path} first, or pass stream=False.")
        depth = _depth(source)
        placed = []
        for name in source.images():
            with rows.reading(name):
                placed.append((name, *_place(name, depth)))
        emotions = _order(label_names, {emotion for _, _, emotion in placed})
        for name, split, emotion in placed:
            with rows.reading(name):
                if emotion not in emotions:
                    raise DataError(f"its emotion {emotion!r} is not one of {', '.join(emotions)}.")
                image: Pixels | Path
                if stream:
                    image = _checked(source.path / name)
                else:
                    image = face_of(source.image(name), size=size, channels=channels)
                rows.add(name, image, emotions.index(emotion), split=split)

    def files(paths: list[Path]) -> ImageFiles:
        return ImageFiles(tuple(paths), size, channels)

    missing = f"No image under {path}: expected {LAYOUTS}"
    return rows.faces(emotions, missing=missing, pack=files if stream else np.stack)


def _split(name: str) -> str:
    return name.split("/")[0].lower()


def _depth(source: Source) -> int:
    """Return the number of names in an image's path: 2 for emotions, 3 for splits with emotions."""
    examples = {name.count("/") + 1: name for name in reversed(source.images())}
    fitting = [depth for depth in (2, 3) if depth in examples]
    if len(fitting) == 1:
        return fitting[0]
    found = ", ".join(examples[depth] for depth in sorted(examples)) or "no image"
    raise DataError(f"Expected images of {source.path} as {LAYOUTS}, at one depth; there is {found}.")


def _place(name: str, depth: int) -> tuple[str, str]:
    """Split and emotion of an image."""
    parts = PurePosixPath(name).parts
    if len(parts) != depth:
        layout = "<emotion>/<image>" if depth == 2 else "<split>/<emotion>/<image>"
        raise DataError(f"it is {len(parts) - 1} folders deep, unlike the others ({layout}).")
    if depth == 2:
        return "all", canonical(parts[0])
    if _split(name) not in SPLITS:
        raise DataError(f"the folder {parts[0]!r} is not one of the splits {', '.join(SPLITS)}.")
    return SPLITS[_split(name)], canonical(parts[1])


def _order(wanted: Sequence[str] | None, found: set[str]) -> tuple[str, ...]:
    if wanted is not None:
        names = tuple(canonical(name) for name in wanted)
        if len(set(names)) < len(names):
            raise ValueError(f"label_names has an emotion more than once: {', '.join(names)}.")
        return names
    return next((known for known in LABEL_SETS.values() if set(known) == found), tuple(sorted(found)))


def _checked(path: Path) -> Path:
    try:
        with Image.open(path):
            return path
    except Exception as error:  # Pillow's readers have no common error class
        raise DataError(f"not an image ({error}).") from error
