"""JAFFE (Lyons et al. 1998): 213 posed expressions of ten Japanese women, grey photos of 256×256 pixels.

The file names tell everything: `KA.AN1.39.tiff` is subject KA, angry, her first photo of it, the 39th of all.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from fer_attention.data.files import check_form
from fer_attention.data.loading import reader
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import Crop, OnError, PathLike, Rows, Source, face_of, open_source
from fer_attention.emotions import JAFFE, canonical

PHOTO = re.compile(r"([A-Z]{2})\.(AN|DI|FE|HA|NE|SA|SU)(\d+)\.(\d+)", re.IGNORECASE)


def recognises(source: Source) -> bool:
    """Return whether there are photos named as JAFFE's."""
    return any(PHOTO.fullmatch(_stem(name)) for name in source.images())


@reader("jaffe", recognises=recognises, layout="photos named as KA.AN1.39.tiff")
def load_jaffe(
    path: PathLike,
    *,
    size: tuple[int, int] = (48, 48),
    crop: Crop | None = None,
    on_error: OnError = "raise",
) -> FaceDataset:
    """Load all photos with their subjects; the set has neither splits nor sequences.

    >>> load_jaffe("jaffe/").subjects[:2]  # doctest: +SKIP

    Args:
        path: The folder of the photos or a zip file of it: TIFF files as published, or copies of another
            image type under the same names.
        size: (H, W) that every photo is resized to, pixels.
        crop: Cuts the face out of a photo before, for instance a `fer_attention.faces.FaceCropper`. Without
            it the whole photo is kept, hair, neck and all.
        on_error: `"raise"` on the first file that cannot be used, or `"skip"` it and list it in `skipped`.

    Raises:
        DataError: Nothing is there, or a file is damaged, not named as JAFFE's, there twice, or has no face.
    """
    check_form(size, channels=1)
    rows = Rows(path, on_error)
    first: dict[str, str] = {}
    with open_source(path, expected="JAFFE is expected as a folder or zip of photos.") as source:
        for name in source.images():
            with rows.reading(name):
                stem = _stem(name)
                photo = PHOTO.fullmatch(stem)
                if photo is None:
                    raise DataError("the file name is not of the form KA.AN1.39, so its emotion is unknown.")
                if (other := first.setdefault(stem, name)) != name:
                    raise DataError(f"it is the same photo as {other}.")
                image = face_of(source.image(name), size=size, crop=crop)
                rows.add(name, image, JAFFE.index(canonical(photo[2])), subject=photo[1].upper())
    return rows.faces(JAFFE, missing=f"No JAFFE photo under {path}: expected names as KA.AN1.39.tiff")


def _stem(name: str) -> str:
    return PurePosixPath(name).stem.upper()
