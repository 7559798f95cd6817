"""Output layouts of YOLO face models, and decoders to boxes, scores and landmarks.

A layout is recognised by the shapes of a model's outputs. Its decoder is a pure NumPy function from the
outputs for one image to the candidates with at least a given score, in pixels of the letterboxed input. The
detector suppresses overlaps and maps candidates to the photo.

If the two axes of a single output fit two layouts, the longer one counts the anchors: (20, 16) are 20 rows of
16 numbers, (15, 16) are 16 columns of 15. Real models have more anchors than numbers per anchor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Size: TypeAlias = tuple[int, int]

_BINS = 16  # for each of the four distances in a map
_STRIDES = [8, 16, 32]


class Candidates(NamedTuple):
    """Candidates in one image, overlapping ones included, in pixels of the letterboxed input; float32."""

    boxes: Numbers  # (n, 4): x1, y1, x2, y2; they may be empty or NaN
    scores: Numbers  # (n,) in [0, 1], at least the minimum score
    landmarks: Numbers | None  # (n, 5, 2): x and y of eyes, nose and corners of the mouth


@dataclass(frozen=True)
class Layout:
    """An output format of face models; `outputs` describes its shapes.

    `fits` takes the outputs' shapes without the batch axis and the input's (height, width). `decode` takes
    the outputs for one image, the input's (height, width) and the minimum score.
    """

    name: str
    outputs: str
    fits: Callable[[Sequence[Shape], Size], bool]
    decode: Callable[[Sequence[Numbers], Size, float], Candidates]


def decode_rows(outputs: Sequence[Numbers], size: Size, min_score: float) -> Candidates:
    """Decode YOLO5Face's rows (Qi et al. 2021, arXiv:2105.12931).

    The only output is (anchors, 16): x and y of the centre, width, height, objectness, x and y of five
    landmarks, and the class score. The face's score is objectness times class score.
    """
    [rows] = outputs
    scores = rows[:, 4].astype(np.float32) * rows[:, 15].astype(np.float32)
    return _decode_passing(rows, scores, min_score, numbers=2)


def decode_columns(outputs: Sequence[Numbers], size: Size, min_score: float) -> Candidates:
    """Decode the columns that ultralytics exports for a one-class model.

    The only output is (20, 15 or 5, anchors): x and y of the centre, width, height, score, and five landmarks
    as x, y and visibility (20 numbers in all), as x and y (15) or not at all (5).
    """
    [columns] = outputs
    numbers = (len(columns) - 5) // 5
    return _decode_passing(columns.T, columns[4].astype(np.float32), min_score, numbers=numbers)


def _decode_passing(rows: Numbers, scores: Numbers, min_score: float, *, numbers: int) -> Candidates:
    """Decode the rows whose score passes; each of their five landmarks has `numbers` numbers."""
    scores = np.clip(scores, 0, 1)
    keep = scores >= min_score
    rows = rows[keep].astype(np.float32)
    centres, halves = rows[:, :2], rows[:, 2:4] / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    points = rows[:, 5 : 5 + 5 * numbers].reshape(-1, 5, numbers)[:, :, :2] if numbers else None
    return Candidates(boxes, scores[keep], points)


def decode_maps(outputs: Sequence[Numbers], size: Size, min_score: float) -> Candidates:
    """Decode the raw maps of a YOLOv8 face model, one per stride, in any order.

    The outputs are (80, height / stride, width / stride), or have 65 channels without landmarks. A cell has
    16 logits for each distance from its centre to the left, top, right and bottom edge, which is the
    expectation over the bins in strides (Li et al. 2020, arXiv:2006.04388, eq. 5); the logit of the score;
    and five landmarks as x, y and visibility, where x and y are half strides from the cell's corner.
    """
    parts = [_decode_map(output, size[0] / output.shape[1], min_score) for output in outputs]
    boxes, scores, landmarks = zip(*parts, strict=True)
    points = None if landmarks[0] is None else np.concatenate(landmarks)
    return Candidates(np.concatenate(boxes), np.concatenate(scores), points)


def _decode_map(cells: Numbers, stride: float, min_score: float) -> Candidates:
    scores = 0.5 + 0.5 * np.tanh(cells[4 * _BINS].astype(np.float32) / 2)  # a sigmoid that cannot overflow
    rows, columns = np.nonzero(scores >= min_score)
    # Only the few cells that pass are decoded: the expectation over all cells would take most of the time.
    chosen = cells[:, rows, columns].T.astype(np.float32)
    corners = np.stack([columns, rows], axis=1).astype(np.float32)
    before, after = np.split(_expectation(chosen[:, : 4 * _BINS].reshape(-1, 4, _BINS)), 2, axis=1)
    boxes = np.concatenate([corners + 0.5 - before, corners + 0.5 + after], axis=1) * stride
    points = None
    if len(cells) > 4 * _BINS + 1:
        points = chosen[:, 4 * _BINS + 1 :].reshape(-1, 5, 3)[:, :, :2]
        points = (points * 2 + corners[:, None]) * stride
    return Candidates(boxes, scores[rows, columns], points)


def _expectation(logits: Numbers) -> Numbers:
    """Compute the expected bin under a softmax over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights @ np.arange(_BINS, dtype=np.float32)) / weights.sum(axis=-1)


def _are_rows(shapes: Sequence[Shape], size: Size) -> bool:
    return [shape[1:] for shape in shapes] == [(16,)] and shapes[0][0] >= 16


def _are_columns(shapes: Sequence[Shape], size: Size) -> bool:
    [first, *others] = shapes
    return not others and len(first) == 2 and first[0] in (5, 15, 20) and first[1] >= first[0]


def _are_maps(shapes: Sequence[Shape], size: Size) -> bool:
    if any(len(shape) != 3 for shape in shapes) or {shape[0] for shape in shapes} not in ({80}, {65}):
        return False
    maps = sorted((shape[1:] for shape in shapes), reverse=True)
    return maps == [(size[0] / stride, size[1] / stride) for stride in _STRIDES]


LAYOUTS = (
    Layout("YOLO5Face rows", "one output (N, anchors, 16)", _are_rows, decode_rows),
    Layout(
        "YOLOv8-face maps",
        "three outputs (N, 80 or 65, H/stride, W/stride) for the strides 8, 16 and 32",
        _are_maps,
        decode_maps,
    ),
    Layout("decoded columns", "one output (N, 20 or 15 or 5, anchors)", _are_columns, decode_columns),
)


def find_layout(shapes: Sequence[Shape], *, batch: int, size: Size) -> Layout:
    """Find the layout of outputs with these shapes, `batch` first, for an input of (height, width).

    Raises:
        ValueError: No layout has such outputs.
    """
    inner = [shape[1:] for shape in shapes]
    if shapes and all(shape[:1] == (batch,) for shape in shapes):
        for layout in LAYOUTS:
            if layout.fits(inner, size):
                return layout
    known = "; ".join(f"{layout.name}, {layout.outputs}" for layout in LAYOUTS)
    raise ValueError(
        f"for {batch} images (N) of {size[0]}x{size[1]} (HxW) it returns outputs of the shapes "
        f"{', '.join(map(str, shapes))}. Known are: {known}. Use a model of one class, faces, exported "
        "without non-maximum suppression (no end-to-end rows)."
    )
