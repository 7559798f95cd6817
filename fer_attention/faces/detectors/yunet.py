"""YuNet as a face detector, on OpenCV."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fer_attention.device import resolve_device
from fer_attention.faces.detectors.registry import DETECTORS, check_fractions
from fer_attention.faces.detectors.shrinking import checked_max_side, pixels_to_search
from fer_attention.faces.detectors.weights import installed_weights
from fer_attention.faces.face import BoxCalibration, Face, largest_first
from fer_attention.faces.images import ImageSource, require_sequence
from fer_attention.optional import needs_extra

_CALIBRATION = BoxCalibration(width=0.93, height=0.96, right=-0.01, down=-0.01)
_log_level = threading.Lock()  # it belongs to all threads


@DETECTORS.register("yunet")
class YuNetDetector:
    """YuNet (Wu et al. 2023, Machine Intelligence Research 20) as OpenCV's `FaceDetectorYN` runs it.

    Finds boxes and five landmarks; the fastest detector here on a CPU. It was trained on faces of 10 to 300
    pixels and misses larger ones, which is why large photos are shrunk.

    Args:
        weights: The ONNX file, for instance OpenCV zoo's `face_detection_yunet_2026may.onnx`. None is the
            file that `fer-attention weights download yunet` downloads.
        device: "auto" or "cpu"; OpenCV's wheels have no GPU support.
        min_score: Minimum score of a reported face.
        iou: Two candidates that overlap by more than this are one face.
        max_side: Larger photos are shrunk to this longer side. Boxes and landmarks are in pixels of the
            original photo. None never shrinks.

    Raises:
        FileNotFoundError: The weights do not exist.
        ValueError: The file is not a YuNet model, a number is out of range, or the device is a GPU.
        ImportError: OpenCV is not installed.
    """

    name = "yunet"

    def __init__(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
        min_score: float = 0.6,
        iou: float = 0.3,
        max_side: int | None = 640,
    ) -> None:
        check_fractions(min_score=min_score, iou=iou)
        if device != "auto" and resolve_device(device).type != "cpu":
            raise ValueError(
                f"yunet runs on the CPU, in OpenCV; got device {str(device)!r}. Use mtcnn or yolo."
            )
        with needs_extra("faces", "YuNet runs on OpenCV"):
            import cv2
        path = Path(weights) if weights is not None else installed_weights("yunet")
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {str(path)!r} to read the YuNet model from.")
        self.max_side, self.min_score, self.iou = checked_max_side(max_side, least=10), min_score, iou
        self._model = path.read_bytes()
        try:
            self._idle = [self._open()]
        except cv2.error as error:
            raise ValueError(f"{str(path)!r} is not a YuNet model that OpenCV can run.") from error

    def _open(self) -> Any:
        """Open a network; it has the size of its input as state, so that each serves one thread at a time."""
        import cv2

        model, no_config = np.frombuffer(self._model, np.uint8), np.empty(0, np.uint8)
        with _quiet(cv2):
            network = cv2.FaceDetectorYN.create(
                "onnx", model, no_config, (320, 320), self.min_score, self.iou
            )
            network.detect(np.zeros((320, 320, 3), np.uint8))
        return network

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_idle": []}

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """Find the faces in each photo, one photo at a time."""
        require_sequence(images)
        try:
            network = self._idle.pop()
        except IndexError:  # all networks are at work in other threads
            network = self._open()
        try:
            return [self._search(source, network) for source in images]
        finally:
            self._idle.append(network)

    def _search(self, source: ImageSource, network: Any) -> list[Face]:
        import cv2

        pixels, photo_size = pixels_to_search(source, self.max_side)
        size = (pixels.shape[1], pixels.shape[0])
        network.setInputSize(size)
        _, found = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        if found is None:
            return []
        ratio = np.divide(photo_size, size)
        return largest_first([face for row in found for face in _faces(row, ratio)])


def _faces(row: npt.NDArray[Any], ratio: npt.NDArray[Any]) -> Iterator[Face]:
    """Convert a row (x, y, width, height, five landmarks, score) to a face, unless it is empty."""
    if row[2] > 0 and row[3] > 0 and np.isfinite(row).all():
        corners = np.concatenate([row[:2], row[:2] + row[2:4]]).reshape(2, 2) * ratio
        box, landmarks = tuple(corners.ravel()), row[4:14].reshape(5, 2) * ratio
        score = min(max(row[14], 0.0), 1.0)
        yield Face(box, score, tuple(map(tuple, landmarks)), _CALIBRATION.common_box(box))


@contextmanager
def _quiet(cv2: Any) -> Iterator[None]:
    """Silence OpenCV 5's warning that its new engine has no targets to choose from."""
    log = getattr(cv2.utils, "logging", None)  # 4.12 and later
    with _log_level:
        level = log and log.setLogLevel(log.LOG_LEVEL_ERROR)  # returns the previous level
        try:
            yield
        finally:
            if log:
                log.setLogLevel(level)
