"""Shared parts of the readers: files of a folder or zip, their pictures, and rows that become FaceDataset."""

from __future__ import annotations

import difflib
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from fer_attention.bounded import cut
from fer_attention.data.archives import unpacked
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

FEW = 3
"""Number of rows that may be damaged in a set of any size, without its layout being in doubt."""

MAX_FILE = 200_000_000
"""Bytes of an image or label file, unpacked; larger ones are refused by name."""

MAX_NAME = 1000

MANY = 20
"""Number of damaged rows after which a reader stops, if they are more than half of the rows so far."""


@dataclass(frozen=True)
class Source:
    """Files by name: those of a folder and its subfolders, those of an archive, or one lone table.

    Attributes:
        path: The folder, the zip or tar file, or the table.
        names: Paths inside it with forward slashes, sorted; the order does not depend on the file system.
        open: Opens one of the names as binary; of an archive, only inside the `with` of `open_source`.
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

    def read(self, name: str) -> bytes:
        """Read a file of at most `MAX_FILE` bytes.

        Raises:
            DataError: The file is larger, or cannot be read.
        """
        try:
            with self.open(name) as file:
                content = file.read(MAX_FILE + 1)
        except DataError:
            raise
        except Exception as error:  # files, zip members and their codecs have no common error class
            raise DataError(f"it cannot be read ({cut(str(error) or type(error).__name__)}).") from error
        if len(content) > MAX_FILE:
            raise DataError(f"it has more than {MAX_FILE // 10**6} MB, too large for an image or a label.")
        return content

    def image(self, name: str) -> Image.Image:
        """Decode an image completely, in the mode of its file.

        Raises:
            DataError: The file is not a complete image.
        """
        content = self.read(name)
        try:
            image = open_image(content, max_pixels=MAX_PIXELS)
            image.load()
        except Exception as error:  # readers of images have no common error class
            raise DataError(f"not a complete image ({cut(str(error))}).") from error
        return image


@contextmanager
def open_source(path: PathLike, *, expected: str = "") -> Iterator[Source]:
    """Open a folder, a zip or tar file, or a lone table for the `with` block.

    Linked folders are followed, each once. What systems add to files (`._x`, `@eaDir`) is left out.

    Args:
        path: Where to look. A table ends with `.csv`, `.tsv` or `.txt`.
        expected: A sentence on what should be there, for the error if nothing is.

    Raises:
        DataError: Nothing is there, a folder cannot be read, or a file is neither a table nor a whole
            archive.
    """
    place = Path(path)
    if place.is_dir():
        yield _folder_source(place, place)
    elif place.is_file() and is_table_name(place.name):
        yield Source(place, (place.name,), lambda _: place.open("rb"))
    elif place.is_file() and not zipfile.is_zipfile(place) and tarfile.is_tarfile(place):
        with unpacked(place) as folder:
            yield _folder_source(place, folder)
    elif place.is_file():
        with _zip_file(place) as archive:
            members = {n.replace("\\", "/"): n for n in archive.namelist()}  # as some Windows programs write
            files = _in_order(name for name in members if not name.endswith("/"))
            yield Source(place, files, lambda name: archive.open(members[name]))
    else:
        raise DataError(" ".join(filter(None, [f"{path} does not exist.", _meant(place), expected])))


def _zip_file(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except NotImplementedError as error:  # of a later version of the format
        raise DataError(
            f"{path} cannot be read ({error}). Unpack it with another program, and pass the folder."
        ) from error
    except Exception as error:  # damaged directories of archives raise many kinds
        raise DataError(
            f"{path} is neither a folder nor a table nor a whole zip or tar file: {cut(str(error))}."
        ) from error


def is_table_name(name: str) -> bool:
    """Return whether a file is a table by its suffix."""
    return name.lower().endswith((".csv", ".tsv", ".txt"))


def _folder_source(path: Path, folder: Path) -> Source:
    def opened(name: str) -> IO[bytes]:
        if (file := folder / name).exists() and not file.is_file():  # a pipe would wait for ever
            raise DataError("it is not a regular file.")
        return file.open("rb")

    return Source(path, _in_order(file.relative_to(folder).as_posix() for file in _walk(folder)), opened)


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
        on_error: `"raise"` if rows cannot be used, or `"skip"` them and list them.
        unit: What the rows are in the set, in the plural, for messages.
        skipped: (name, reason) of what was left out, by an error or by a rule of the set.
        layout: How labels were understood, for the record.

    Raises:
        ValueError: `on_error` is something else.
    """

    path: PathLike
    on_error: OnError
    unit: str = "files"
    skipped: list[tuple[str, str]] = field(default_factory=list)
    layout: str = ""
    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    _failed: dict[str, DataError] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        check_choice("on_error", self.on_error, ("raise", "skip"))

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Guard the reading of one row: collect its DataError, or skip the row.

        Errors are raised by `check` and `faces`, so that they can say how many rows they concern, and at once
        where nearly all of many rows have failed.
        """
        self._seen.add(name)
        try:
            yield
        except DataError as error:
            if self.on_error == "skip":
                self.skipped.append((name, str(error)))
                return
            self._failed.setdefault(name, error)
            if len(self._failed) >= MANY and 2 * len(self._failed) > len(self._seen):
                self.check()

    def check(self) -> None:
        """Raise the first of the errors so far, with their number; skipping is advised where they are few.

        Raises:
            DataError: Rows cannot be used.
        """
        if not self._failed:
            return
        name, error = next(iter(self._failed.items()))
        bad, seen = len(self._failed), len(self._seen)
        message = f"{self.path}: {cut(name)}: {cut(str(error), 400)}"
        if bad > 1:
            message += f" {bad} of the first {seen} {self.unit} cannot be used."
        if bad < seen and (bad <= FEW or bad <= 0.05 * seen):
            message += f" Pass on_error='skip' to leave such {self.unit} out."
        raise DataError(message) from error

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
        """Add a row, of the same kinds of facts as the rows before.

        Raises:
            DataError: The name is too long: an array of names has the width of the longest.
        """
        if len(name) > MAX_NAME:
            raise DataError(f"its path has {len(name)} characters; at most {MAX_NAME} are read.")
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
            DataError: Rows could not be used, or there is none; `missing` is its message, up to the full
                stop.
        """
        self.check()
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
            layout=self.layout,
        )
