"""FER2013 (Goodfellow et al. 2013) in the folder layout of its public Kaggle copies.

`train/<emotion>/Training_*.jpg` and `test/<emotion>/{PublicTest,PrivateTest}_*.jpg`, as a directory or as a
zip file. The official split is in the file names: train on `train`, select on `public`, open `private` once.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image

from fer_attention.data.records import DataError, FaceCrops
from fer_attention.emotions import FER2013, canonical

SPLITS = {"Training": "train", "PublicTest": "public", "PrivateTest": "private"}
SUFFIXES = {".jpg", ".jpeg", ".png"}
SIZE = (48, 48)


def load_fer2013(path: str | os.PathLike[str], *, on_error: Literal["raise", "skip"] = "raise") -> FaceCrops:
    """The whole set, or what is there of it: 35,887 grey faces of 48×48 in three splits.

    Args:
        path: The folder that holds `train` and `test`, or a zip file of it.
        on_error: `"raise"` on the first file that cannot be used, or `"skip"` it and list it in `skipped`.

    Raises:
        DataError: Nothing is there, the layout is another, or a file is damaged.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error is 'raise' or 'skip', got {on_error!r}.")
    images, labels, names, splits, skipped = [], [], [], [], []
    for name, read in _files(Path(path)):
        try:
            label, split = _meaning(name)
            image = _decode(read)
        except DataError as error:
            if on_error == "raise":
                raise DataError(
                    f"{path}: {name}: {error} Pass on_error='skip' to leave such files out."
                ) from error
            skipped.append((name, str(error)))
            continue
        images.append(image)
        labels.append(label)
        names.append(name)
        splits.append(split)
    if not images:
        found = f"; {len(skipped)} files were skipped, the first: {skipped[0]}" if skipped else ""
        raise DataError(f"No FER2013 image under {path}: expected train/<emotion>/Training_*.jpg{found}.")
    return FaceCrops(
        images=np.stack(images),
        labels=np.array(labels, dtype=np.int64),
        names=np.array(names),
        splits=np.array(splits),
        label_names=FER2013,
        skipped=tuple(skipped),
    )


def _files(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Image files as (name, reader), sorted by name, so that order does not hang on the file system."""
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES):
            yield file.relative_to(path).as_posix(), file.read_bytes
    elif path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                for name in sorted(
                    n for n in archive.namelist() if PurePosixPath(n).suffix.lower() in SUFFIXES
                ):
                    yield name, lambda name=name: archive.read(name)  # type: ignore[misc]
        except zipfile.BadZipFile as error:
            raise DataError(f"{path} is neither a folder nor a whole zip file: {error}.") from error
    else:
        raise DataError(
            f"{path} does not exist. FER2013 is expected as a folder or zip with train/ and test/."
        )


def _meaning(name: str) -> tuple[int, str]:
    """Label and split of a file name."""
    file = PurePosixPath(name)
    emotion = canonical(file.parent.name)
    if emotion not in FER2013:
        raise DataError(f"the folder {file.parent.name!r} is none of {', '.join(FER2013)}.")
    prefix = file.name.split("_")[0]
    if prefix not in SPLITS:
        raise DataError(f"the file name starts with none of {', '.join(SPLITS)}, so its split is unknown.")
    return FER2013.index(emotion), SPLITS[prefix]


def _decode(read: Callable[[], bytes]) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(read())) as image:
            grey = np.asarray(image.convert("L"))
    except Exception as error:  # readers of images and of zip members have no common error class
        raise DataError(f"not a whole image ({error}).") from error
    if grey.shape != SIZE:
        raise DataError(f"{grey.shape[1]}×{grey.shape[0]} pixels instead of 48×48.")
    return grey
