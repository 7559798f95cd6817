"""Shared parts of the readers: files of a folder or zip, their pictures, and rows that become FaceDataset."""

from __future__ import annotations

import difflib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer_attention.data.files import ImageFiles, fit
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.faces.decoding import MAX_PIXELS, open_image
from fer_attention.faces.images import ImageError, load_image
from fer_attention.faces.photo_files import is_image_name, is_junk
from fer_attention.os_errors import reason_of
from fer_attention.registry import check_choice

OnError: TypeAlias = Literal["raise", "skip"]
Crop: TypeAlias = Callable[[Image.Image], Image.Image]
PathLike: TypeAlias = str | os.PathLike[str]
Pixels: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """Files by name: those of a folder and its subfolders, those of a zip file, or one lone CSV file.

    Attributes:
        path: The folder, the zip file or the CSV file.
        names: Paths inside it with forward slashes, sorted; the order does not depend on the file system.
        open: Opens one of the names as binary; of a zip, only inside the `with` of `open_source`.
    """

    path: Path
    names: tuple[str, ...]
    open: Callable[[str], IO[bytes]]

    def images(self) -> list[str]:
        """Return the names with the suffix of an image file, in upper or lower case."""
        return [name for name in self.names if is_image_name(name)]

    def named(self, file_name: str) -> list[str]:
        """Return the files of that name in any subfolder."""
        return [name for name in self.names if PurePosixPath(name).name.lower() == file_name.lower()]

    def image(self, name: str) -> Image.Image:
        """Decode an image completely, in the mode of its file.

        Raises:
            DataError: The file is not a complete image.
        """
        try:
            with self.open(name) as file:
                image = open_image(file, max_pixels=MAX_PIXELS)
            image.load()
        except Exception as error:  # readers of images and of zip members have no common error class
            raise DataError(f"not a complete image ({error}).") from error
        return image


@contextmanager
def open_source(path: PathLike, *, expected: str = "") -> Iterator[Source]:
    """Open a folder, a zip file or a `.csv` file for the `with` block.

    Linked folders are followed, each once. What macOS adds to files (`._x`) is left out.

    Args:
        path: Where to look.
        expected: A sentence on what should be there, for the error if nothing is.

    Raises:
        DataError: Nothing is there, a folder cannot be read, or a file is neither CSV nor a whole zip.
    """
    place = Path(path)
    if place.is_dir():
        names = _in_order(file.relative_to(place).as_posix() for file in _walk(place))
        yield Source(place, names, lambda name: (place / name).open("rb"))
    elif place.is_file() and place.suffix.lower() == ".csv":
        yield Source(place, (place.name,), lambda _: place.open("rb"))
    elif place.is_file():
        try:
            archive = zipfile.ZipFile(place)
        except zipfile.BadZipFile as error:
            raise DataError(f"{path} is neither a folder nor a whole zip file: {error}.") from error
        with archive:
            yield Source(place, _in_order(n for n in archive.namelist() if not n.endswith("/")), archive.open)
    else:
        raise DataError(" ".join(filter(None, [f"{path} does not exist.", _meant(place), expected])))


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if not is_junk(name)}))


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read: {reason_of(error)}.") from error

    seen = set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        if (true_place := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(true_place)
        yield from (Path(place, file) for file in files)


def _meant(path: Path) -> str:
    """Suggest a file beside it with a similar name."""
    if not path.parent.is_dir():
        return f"Neither does {path.parent}."
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def face_of(
    image: Image.Image, *, size: tuple[int, int], channels: int = 1, crop: Crop | None = None
) -> Pixels:
    """Convert an image of any size and mode to uint8 (H, W) grey or (H, W, 3) RGB: upright, cropped, resized.

    Args:
        image: What `Source.image` gives.
        size: (H, W) of the result, pixels; the picture is stretched to it.
        channels: 1 grey, 3 RGB.
        crop: Takes the upright RGB picture and gives the part to keep; its ImageError means: no face.

    Raises:
        DataError: The picture's values have no fixed scale, or `crop` found no face.
    """
    try:
        upright = load_image(image)
        return fit(crop(upright) if crop else upright, size=size, channels=channels)
    except ImageError as error:
        raise DataError(str(error)) from error


@dataclass
class Rows:
    """Gathers the rows of a set, and the names of what was left out.

    Args:
        path: The set, for messages.
        on_error: `"raise"` on the first row that cannot be used, or `"skip"` it and list it.
        unit: What the rows are in the set, in the plural, for messages.
        skipped: (name, reason) of what was left out, by an error or by a rule of the set.

    Raises:
        ValueError: `on_error` is something else.
    """

    path: PathLike
    on_error: OnError
    unit: str = "files"
    skipped: list[tuple[str, str]] = field(default_factory=list)
    _rows: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_choice("on_error", self.on_error, ("raise", "skip"))

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Guard the reading of one row: name it in a DataError with the way to skip it, or skip it."""
        try:
            yield
        except DataError as error:
            if self.on_error == "raise":
                raise DataError(
                    f"{self.path}: {name}: {error} Pass on_error='skip' to leave such {self.unit} out."
                ) from error
            self.skipped.append((name, str(error)))

    def add(
        self,
        name: str,
        image: Pixels | Path,
        label: int,
        *,
        split: str = "all",
        subject: str | None = None,
        sequence: str | None = None,
    ) -> None:
        """Add one more row, with the same kinds of facts as the rows before."""
        self._rows.append((name, image, label, split, subject, sequence))

    def faces(
        self,
        label_names: Sequence[str],
        *,
        missing: str,
        pack: Callable[[list[Any]], Pixels | ImageFiles] = np.stack,
    ) -> FaceDataset:
        """Return the rows as a data set, in order; `pack` combines the images into one object.

        Raises:
            DataError: There is no row; `missing` is the message, up to the full stop.
        """
        if not self._rows:
            count = len(self.skipped)
            found = f"; {count} {self.unit} were skipped, the first: {self.skipped[0]}" if count else ""
            raise DataError(f"{missing}{found}.")
        names, images, labels, splits, subjects, sequences = zip(*self._rows, strict=True)
        return FaceDataset(
            images=pack(list(images)),
            labels=np.array(labels, dtype=np.int64),
            names=np.array(names),
            splits=np.array(splits),
            label_names=tuple(label_names),
            subjects=None if subjects[0] is None else np.array(subjects),
            sequences=None if sequences[0] is None else np.array(sequences),
            skipped=tuple(self.skipped),
        )
