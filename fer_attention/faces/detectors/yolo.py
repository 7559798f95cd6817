"""YOLO face models in ONNX as a face detector; the user provides the file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torchvision.ops import nms

from fer_attention.faces.detectors.registry import DETECTORS, check_fractions
from fer_attention.faces.detectors.shrinking import resized
from fer_attention.faces.detectors.yolo_layouts import Candidates, Numbers, find_layout
from fer_attention.faces.face import BoxCalibration, Face, largest_first
from fer_attention.faces.images import ImageSource, borrow_image, is_rgb, require_sequence
from fer_attention.onnx_session import OnnxSession

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_GREY = 114 / 255  # of the bars beside the photo, as in the training of ultralytics
_SIDE = 640  # pixels, if the model has no fixed input size
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_CALIBRATION = BoxCalibration(width=0.92, height=0.95, right=-0.02, down=0.01)  # of a YOLOv8 face model


@DETECTORS.register("yolo")
class YOLODetector:
    """YOLO face models in ONNX, on ONNX Runtime: YOLO5Face, YOLOv8-face and ultralytics' pose exports.

    The layout of the outputs (`yolo_layouts`) is recognised by their shapes, in a run on blank images at
    construction. Shapes do not identify faces: a model of other classes with outputs of these shapes returns
    nonsense.

    Photos are resized to the model's input with antialiasing and in their proportions, and centred between
    grey bars. Faces wholly inside the bars are dropped.

    Args:
        weights: The ONNX file. None is shipped, since licences differ: YOLO5Face is under GPL-3.0,
            ultralytics' models are under AGPL-3.0.
        device: "auto" (the GPU if torch finds one and ONNX Runtime can use it, else the CPU), "cpu", "cuda"
            or "cuda:N".
        min_score: Minimum score of a reported face; 0.6 is that of Miskow and Altahhan (arXiv:2410.17740).
        iou: Of two faces that overlap by more than this, the one with the lower score is dropped.
        size: Side of the square input in pixels, a multiple of 32, for a model without a fixed one; None is
            640.
        batch_size: Photos per run at most, for a model without a fixed batch size. Fixed batches are filled
            up with blank images.

    Attributes:
        layout: Name of the layout of the model's outputs.
        device: The torch device on which the model runs.

    Raises:
        ValueError: No weights are passed, the file is not such a model, a number is out of range or
            contradicts the model, or the device cannot be used.
        FileNotFoundError: There is no such file.
        RuntimeError: The model fails on blank images.
        ImportError: ONNX Runtime is not installed.
    """

    name = "yolo"

    def __init__(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        min_score: float = 0.6,
        iou: float = 0.45,
        size: int | None = None,
        batch_size: int = 8,
    ) -> None:
        if weights is None:
            raise ValueError(
                "The detector 'yolo' needs the file of a YOLO face model in ONNX: create_detector('yolo', "
                "weights='yolov8n-face.onnx'). None is shipped, since licences differ (YOLO5Face is under "
                "GPL-3.0, ultralytics' models are under AGPL-3.0)."
            )
        check_fractions(min_score=min_score, iou=iou)
        if size is not None and (size < 32 or size % 32):
            raise ValueError(f"size is a multiple of 32, for instance 640; got {size}.")
        if batch_size < 1:
            raise ValueError(f"batch_size is at least 1; got {batch_size}.")
        self._path = path = Path(weights)
        self.min_score, self.iou = min_score, iou
        threads = torch.get_num_threads()
        self._opened = OnnxSession(path, device, threads=threads, extra="faces")
        self.device = self._opened.device
        try:
            self._input = _Input.of(self._opened.session, size)
            self._count = self._input.batch or batch_size
            # Two, not one: a graph may declare any batch size and be frozen to one inside.
            blank = self._input.blank(min(self._count, 2) if self._input.batch is None else self._count)
            shapes = [np.shape(output) for output in self._run(blank)]
            layout = find_layout(shapes, batch=len(blank), size=self._input.size)
        except ValueError as error:
            raise ValueError(f"Cannot use {str(path)!r}: {error}") from error
        self.layout = layout.name
        self._decode = layout.decode

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """Find the faces in each photo; RuntimeError if the model fails, for instance for lack of memory."""
        require_sequence(images)
        sources, found = iter(images), list[list[Face]]()
        while some := list(islice(sources, self._count)):
            found += self._search(some)
        return found

    def _search(self, sources: Sequence[ImageSource]) -> list[list[Face]]:
        batch = self._input.blank(self._input.batch or len(sources))
        letterboxes = [_letterbox(source, part) for source, part in zip(sources, batch, strict=False)]
        outputs = self._run(batch)
        with np.errstate(over="ignore", invalid="ignore"):  # _faces drops candidates that are not finite
            found = [
                self._decode([output[index] for output in outputs], self._input.size, self.min_score)
                for index in range(len(letterboxes))
            ]
        return list(map(self._faces, found, letterboxes))

    def _run(self, batch: Numbers) -> list[Numbers]:
        try:
            return self._opened.session.run(None, {self._input.name: batch})
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise RuntimeError(
                f"The model {str(self._path)!r} fails on images of shape {batch.shape}: {error}"
            ) from error

    def _faces(self, candidates: Candidates, letterbox: _Letterbox) -> list[Face]:
        boxes, scores, landmarks = candidates
        sound = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
        if landmarks is not None:
            sound &= np.isfinite(landmarks).all(axis=(1, 2))
        rows = np.flatnonzero(sound)
        kept = nms(torch.from_numpy(boxes[rows]), torch.from_numpy(scores[rows]), self.iou)
        faces = []
        for index in rows[kept.numpy()]:
            corners = letterbox.to_photo(boxes[index].reshape(2, 2))
            if (corners[1] <= 0).any() or (corners[0] >= letterbox.photo).any():
                continue  # a candidate inside the bars has no pixel of the photo
            points = None if landmarks is None else tuple(map(tuple, letterbox.to_photo(landmarks[index])))
            box = tuple(corners.ravel())
            faces.append(Face(box, scores[index], points, _CALIBRATION.common_box(box)))
        return largest_first(faces)


@dataclass(frozen=True)
class _Input:
    """Input of a model: name, pixel type, batch size (None if not fixed), (height, width)."""

    name: str
    dtype: type[np.floating[Any]]
    batch: int | None
    size: tuple[int, int]

    @classmethod
    def of(cls, session: InferenceSession, size: int | None) -> _Input:
        inputs = session.get_inputs()
        described = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        shape = [side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape]
        fits = len(inputs) == 1 and inputs[0].type in _TYPES and len(shape) == 4 and shape[1] in (3, None)
        if not fits:
            raise ValueError(
                "a YOLO model has one input, float32 or float16 images of shape (N, 3, height, width); "
                f"this one has {described}."
            )
        if size is not None and any(side not in (size, None) for side in shape[2:]):
            raise ValueError(
                f"its input is fixed to {shape[2]}x{shape[3]} pixels (height x width); got size={size}. "
                "Leave size out."
            )
        height, width = (side or size or _SIDE for side in shape[2:])
        return cls(inputs[0].name, _TYPES[inputs[0].type], shape[0], (height, width))

    def blank(self, count: int) -> Numbers:
        """Return grey images (count, 3, height, width)."""
        return np.full((count, 3, *self.size), _GREY, dtype=self.dtype)


@dataclass(frozen=True)
class _Letterbox:
    """Position of a photo in the input, as (x, y): the photo's size, its size in the input, its corner."""

    photo: tuple[int, int]
    inner: tuple[int, int]
    corner: tuple[int, int]

    def to_photo(self, points: Numbers) -> Numbers:
        """Map points (..., 2) from pixels of the input to pixels of the photo."""
        return (points.astype(np.float64) - self.corner) * np.divide(self.photo, self.inner)


def _letterbox(source: ImageSource, picture: Numbers) -> _Letterbox:
    """Resize a photo into the centre of a blank image (3, height, width)."""
    photo = source if is_rgb(source) else borrow_image(source)
    size = photo.size if isinstance(photo, Image.Image) else (photo.shape[1], photo.shape[0])
    room = picture.shape[2], picture.shape[1]
    ratio = min(room[0] / size[0], room[1] / size[1])
    width, height = (max(1, round(side * ratio)) for side in size)
    left, top = (room[0] - width) // 2, (room[1] - height) // 2
    if size != (width, height):
        photo = resized(borrow_image(photo), (width, height))
    view = picture[:, top : top + height, left : left + width]
    np.multiply(np.asarray(photo).transpose(2, 0, 1), 1 / 255, out=view, casting="unsafe", dtype=np.float32)
    return _Letterbox(size, (width, height), (left, top))
