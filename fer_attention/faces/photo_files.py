"""Photo files: recognised by suffix or content, listed below folders, and names for annotated copies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fer_attention.faces.decoding import IMAGE_SUFFIXES, is_image_content

JUNK = frozenset(
    {
        "__macosx",
        "__pycache__",
        "$recycle.bin",
        "@eadir",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "lost+found",
        "system volume information",
    }
)
"""Folders that systems add beside photos, in lower case. Names that begin with a dot are left out, too."""


def is_image_name(name: str) -> bool:
    """Return True for a name with the suffix of an image file, in upper or lower case.

    >>> is_image_name("photos/one.JPG"), is_image_name("notes.txt")
    (True, False)
    """
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_junk(name: str) -> bool:
    """Return True for a path that a system made or hides: its files are nobody's photos.

    >>> is_junk("happy/._one.jpg"), is_junk("__MACOSX/happy/one.jpg"), is_junk("happy/one.jpg")
    (True, True, False)
    """
    return any(part.lower() in JUNK or part.startswith(".") for part in PurePosixPath(name).parts)


def walk(folder: Path, *, without: Iterable[Path] = ()) -> list[Path]:
    """List a folder's files, then those of its subfolders, in order of their names.

    Hidden and junk files are left out. Links are followed, except to a folder above.

    Args:
        folder: The folder.
        without: Files and folders to leave out.
    """
    left_out = {path.resolve() for path in without}

    def below(one: Path, above: tuple[Path, ...]) -> list[Path]:
        shown = [path for path in sorted(one.iterdir()) if not is_junk(path.name)]
        files = [path for path in shown if not path.is_dir() and path.resolve() not in left_out]
        for path in shown:
            real = path.resolve()
            if path.is_dir() and real not in left_out and real not in above:
                files += below(path, (*above, real))
        return files

    return below(folder, (folder.resolve(),))


@dataclass(frozen=True)
class Listing:
    """Files of a command's arguments.

    Attributes:
        photos: Image files, by suffix or by content, and all files that were named themselves; each once.
        others: Files in folders that are not images.
    """

    photos: tuple[Path, ...]
    others: tuple[Path, ...]


def list_photos(paths: Iterable[Path], *, without: Iterable[Path] = ()) -> Listing:
    """List the given files, with folders replaced by the files below them.

    Args:
        paths: Files and folders.
        without: Files and folders to leave out, for instance the outputs of an earlier run.

    Raises:
        ValueError: There is no photo among the files.
    """
    paths, without = list(paths), tuple(without)
    photos: dict[Path, None] = {}
    others: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            photos[path] = None
            continue
        for file in walk(path, without=without):
            found = is_image_name(file.name) or is_image_content(file)
            (photos if found else others)[file] = None
    if not photos:
        names = ", ".join(map(str, paths))
        raise ValueError(f"{names} contains no image file ({', '.join(IMAGE_SUFFIXES)}).")
    return Listing(tuple(photos), tuple(others))
