"""The manifest of a run: one row for each face, or one with the reason why a photo has none."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_attention.atomic import replacing
from fer_attention.optional import needs_extra

if TYPE_CHECKING:
    from fer_attention.faces.cropper import CroppedFace
    from fer_attention.faces.geometry import CropTransform


@dataclass(frozen=True)
class ManifestRow:
    """One face, or one photo without any. All coordinates are in pixels of the upright photo.

    >>> row = ManifestRow("wall.jpg", reason="no face found", width=640, height=480)
    >>> row.crop is None
    True

    Attributes:
        source: Path of the photo below the source folder, with forward slashes.
        reason: Why there is no crop, or why the crop is the whole photo; None for the crop of a face.
        crop: Path of the crop below the output folder, or None.
        width: Width of the photo; this and all that follow are None if it cannot be read.
        height: Height of the photo.
        face: Number of the face in its photo, from 1; this and all that follow are None without a face.
        x1: Left edge of the detector's box; then top, right and bottom.
        score: The detector's confidence.
        left_eye_x: First of five landmarks; None if the detector finds none.
        a: Pixels (x, y) of the crop are at (a·x + b·y + c, d·x + e·y + f) in the photo.
        size: This and the five after it are those of `FaceQuality`.
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

    def with_face(self, cut: CroppedFace, *, number: int) -> ManifestRow:
        """Return the row with a face's box, landmarks, score, quality and transform, rounded."""
        positions = [*cut.face.box, *chain.from_iterable(cut.face.landmarks or ())]
        rounded = (round(value, 2) for value in positions)
        facts: dict[str, Any] = dict(zip(_POSITIONS, rounded, strict=False))
        known = {name: value for name, value in asdict(cut.quality).items() if value is not None}
        facts |= {name: round(value, 4) for name, value in (known | {"score": cut.face.score}).items()}
        return replace(self, face=number, **facts).with_transform(cut.transform)

    def with_transform(self, transform: CropTransform) -> ManifestRow:
        """Return the row with the map from crop to photo."""
        numbers = (round(value, 5) for row in transform.matrix for value in row)
        return replace(self, **dict(zip("abcdef", numbers, strict=True)))  # type: ignore[arg-type]


MANIFESTS = ("manifest.csv", "manifest.parquet")
COLUMNS = tuple(column.name for column in fields(ManifestRow))
_POSITIONS = COLUMNS[COLUMNS.index("x1") : COLUMNS.index("y2") + 1] + tuple(
    name for name in COLUMNS if name.endswith(("_x", "_y"))
)


def check_parquet() -> None:
    """Raise an ImportError before the work if Parquet cannot be written after it."""
    with needs_extra("faces", "Parquet needs pyarrow"):
        import pyarrow.parquet  # noqa: F401


def write_manifest(path: Path, rows: Sequence[ManifestRow]) -> None:
    """Write rows atomically as CSV or Parquet, by the file's suffix.

    Raises:
        ValueError: The suffix is neither .csv nor .parquet.
        ImportError: pyarrow, which writes Parquet, is not installed.
    """
    if path.suffix == ".csv":
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    elif path.suffix == ".parquet":
        check_parquet()
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {"str": pa.string(), "int": pa.int32(), "float": pa.float64()}
        schema = pa.schema(
            [(column.name, kinds[str(column.type).split()[0]]) for column in fields(ManifestRow)]
        )
        table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)
        with replacing(path) as temporary:
            parquet.write_table(table, temporary)
    else:
        raise ValueError(f"A manifest is a .csv or .parquet file; got {path.name}.")
