"""Names of photo files: recognised by suffix, listed below folders, and derived for annotated copies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of the image files that are read from folders and archives, in lower case."""


def is_image_name(name: str) -> bool:
    """Return True for a name with the suffix of an image file, in upper or lower case.

    >>> is_image_name("photos/one.JPG"), is_image_name("notes.txt")
    (True, False)
    """
    return name.lower().endswith(IMAGE_SUFFIXES)


def photo_files(paths: Iterable[Path]) -> list[Path]:
    """List the given files, with folders replaced by the image files below them; each file once.

    Raises:
        ValueError: A folder contains no image file.
    """
    files: dict[Path, None] = {}
    for path in paths:
        found = [path]
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if is_image_name(file.name))
            if not found:
                raise ValueError(f"The folder {path} contains no image file ({', '.join(IMAGE_SUFFIXES)}).")
        files.update(dict.fromkeys(found))
    return list(files)


def picture_files(photos: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """Name a PNG file in one folder for each photo, numbered if several photos share a name.

    No name is that of one of the photos, so that none is overwritten.

    >>> [file.name for file in picture_files([Path("a/x.jpg"), Path("b/x.jpg")], Path("out")).values()]
    ['x.png', 'x_2.png']
    """
    photos = list(photos)
    names: dict[Path, Path] = {}
    taken = {photo.resolve() for photo in photos}
    for photo in photos:
        picture, number = folder / f"{photo.stem}.png", 1
        while picture.resolve() in taken:
            number += 1
            picture = folder / f"{photo.stem}_{number}.png"
        taken.add(picture.resolve())
        names[photo] = picture
    return names
