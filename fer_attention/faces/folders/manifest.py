"""The list of what became of every photo: one row for each face, or one that says why there is none."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_attention.atomic import replacing, write_atomically
from fer_attention.optional import needs_extra

if TYPE_CHECKING:
    from fer_attention.faces.cropper import CroppedFace
    from fer_attention.faces.geometry import CropTransform


@dataclass(frozen=True)
class ManifestRow:
    """One face, or one photo without any. All coordinates are in pixels of the upright photo.

    Attributes:
        source: The photo's path below the source folder, with forward slashes.
        reason: Why there is no crop, or why it is none of a face; None for a face's crop.
        crop: The crop's path below the output folder; None where there is none.
        width: Of the photo; None if it cannot be read, as all that follows.
        height: Of the photo.
        face: The face's number in its photo, from 1; None without a face, as all that follows.
        x1: Left edge of the detector's box; then top, right and bottom.
        score: The detector's confidence.
        left_eye_x: The first of five landmarks; None if the detector gives none.
        a: The crop's pixels lie in the photo at (a·x + b·y + c, d·x + e·y + f).
        size: As `FaceQuality` says, and the five after it.
    """

    source: str
    reason: str | None = None
    crop: str | None = None
    width: int | None = None
    height: int | None = None
    face: int | None = None
    x1: float | None = None
    y1: float | None = None
    x2: float | None = None
    y2: float | None = None
    score: float | None = None
    left_eye_x: float | None = None
    left_eye_y: float | None = None
    right_eye_x: float | None = None
    right_eye_y: float | None = None
    nose_x: float | None = None
    nose_y: float | None = None
    mouth_left_x: float | None = None
    mouth_left_y: float | None = None
    mouth_right_x: float | None = None
    mouth_right_y: float | None = None
    a: float | None = None
    b: float | None = None
    c: float | None = None
    d: float | None = None
    e: float | None = None
    f: float | None = None
    size: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    yaw: float | None = None
    roll: float | None = None

    @classmethod
    def of_photo(
        cls, source: str, image_size: tuple[int, int], *, reason: str | None, crop: str | None = None
    ) -> ManifestRow:
        """A photo that could be read; `image_size` is its (width, height)."""
        return cls(source, reason=reason, crop=crop, width=image_size[0], height=image_size[1])

    def with_face(self, cut: CroppedFace, *, number: int) -> ManifestRow:
        """The row with all that is known of a face; rounded, pixels to hundredths."""
        places = [*cut.face.box, *chain.from_iterable(cut.face.landmarks or ())]
        facts: dict[str, Any] = {name: round(value, 2) for name, value in zip(_PLACES, places, strict=False)}
        known = {name: value for name, value in asdict(cut.quality).items() if value is not None}
        facts |= {name: round(value, 4) for name, value in (known | {"score": cut.face.score}).items()}
        return replace(self, face=number, **facts).with_transform(cut.transform)

    def with_transform(self, transform: CropTransform) -> ManifestRow:
        """The row with where the crop's pixels lie."""
        numbers = (round(value, 5) for row in transform.matrix for value in row)
        return replace(self, **dict(zip("abcdef", numbers, strict=True)))  # type: ignore[arg-type]


COLUMNS = tuple(column.name for column in fields(ManifestRow))
_PLACES = COLUMNS[COLUMNS.index("x1") : COLUMNS.index("y2") + 1] + tuple(
    name for name in COLUMNS if name.endswith(("_x", "_y"))
)


def check_parquet() -> None:
    """Find out before the work whether Parquet can be written after it; ImportError without pyarrow."""
    with needs_extra("faces", "Parquet needs pyarrow"):
        import pyarrow.parquet  # noqa: F401


def write_manifest(path: Path, rows: Sequence[ManifestRow]) -> None:
    """Write rows as CSV or Parquet, by the file's suffix, whole or not at all.

    Raises:
        ValueError: The suffix is another.
        ImportError: pyarrow, which writes Parquet, is not installed.
    """
    if path.suffix == ".csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
        write_atomically(path, text.getvalue().encode())
    elif path.suffix == ".parquet":
        check_parquet()
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {"str": pa.string(), "int": pa.int32(), "float": pa.float64()}
        schema = pa.schema(
            [(column.name, kinds[str(column.type).split()[0]]) for column in fields(ManifestRow)]
        )
        columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
        with replacing(path) as temporary:
            parquet.write_table(pa.table(columns, schema=schema), temporary)
    else:
        raise ValueError(f"A manifest is a .csv or .parquet file; got {path.name}.")
