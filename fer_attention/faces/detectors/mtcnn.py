"""MTCNN as a face detector; its weights are part of facenet-pytorch."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fer_attention.device import resolve_device
from fer_attention.faces.detectors.registry import DETECTORS, check_fractions
from fer_attention.faces.detectors.shrinking import checked_max_side, pixels_to_search
from fer_attention.faces.face import Face, largest_first
from fer_attention.faces.images import ImageSource, require_sequence
from fer_attention.inference import keep_forks_safe

Numbers: TypeAlias = npt.NDArray[Any]

# Largest batch of photos of one size, in photos and in pixels: on a CPU what its caches hold
# (benchmarks/faces.py), on a GPU about 1 GB.
_BATCH_SIZE = {"cpu": 4, "cuda": 256}
_BATCH_PIXELS = {"cpu": 1_300_000, "cuda": 16_000_000}
_WAITING_PIXELS = 24_000_000  # pixels that wait for others of their size: 72 MB
_CPU_BATCHES = {"pnet": 1, "rnet": 32, "onet": 16}
_process_state = threading.Lock()  # warning filters and random numbers belong to all threads


class _Batched(nn.Module):
    """A network of MTCNN on a CPU, where batches of `count` with channels last are twice as fast as one."""

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the network's outputs for (N, 3, H, W)."""
        parts = torch.split(x, self.count)
        outputs = [self.network(part.contiguous(memory_format=torch.channels_last)) for part in parts]
        return tuple(torch.cat(several) for several in zip(*outputs, strict=True))


class _Waiting(NamedTuple):
    position: int
    pixels: Numbers
    photo_size: tuple[int, int]


@DETECTORS.register("mtcnn")
class MTCNNDetector:
    """Multi-task cascaded networks (Zhang et al. 2016, arXiv:1604.02878) with facenet-pytorch's weights.

    Finds boxes and five landmarks. It was trained on faces with their surroundings and misses many in tightly
    cropped images.

    Args:
        device: "auto" (the GPU if there is one), or any torch device.
        min_face_size: Side of the smallest faces in pixels, at least 12, after shrinking by `max_side`. The
            search time is roughly proportional to its inverse square.
        thresholds: Minimum score of each of the three networks.
        min_score: Minimum score of a reported face; the last network scores false candidates up to 0.85.
        max_side: Larger photos are shrunk to this longer side, which bounds the time and makes
            `min_face_size * longer side / max_side` the smallest face found in such a photo. Boxes and
            landmarks are in pixels of the original photo. None never shrinks.

    Raises:
        ValueError: A number is out of range.
    """

    name = "mtcnn"

    def __init__(
        self,
        *,
        device: str | torch.device = "auto",
        min_face_size: float = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        min_score: float = 0.9,
        max_side: int | None = 1600,
    ) -> None:
        if not 12 <= min_face_size < math.inf:
            raise ValueError(
                f"min_face_size is at least 12 pixels, the window of the first network; got {min_face_size}."
            )
        if len(thresholds) != 3 or not all(0 <= threshold <= 1 for threshold in thresholds):
            raise ValueError(f"thresholds are three scores in [0, 1], one per network; got {thresholds!r}.")
        check_fractions(min_score=min_score)
        resolved = resolve_device(device)
        with _process_state, warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            # facenet_pytorch changes the warning filters on import, and draws random weights before loading
            from facenet_pytorch import MTCNN

            network = MTCNN(
                min_face_size=min_face_size, thresholds=list(thresholds), keep_all=True, device=resolved
            )
        self.min_score = min_score
        self.min_face_size = min_face_size
        self.max_side = checked_max_side(max_side, least=min_face_size)
        if resolved.type == "cpu":
            for name, count in _CPU_BATCHES.items():
                setattr(network, name, _Batched(getattr(network, name), count))
        self._device = resolved
        self._network = network.eval().float()  # whatever the default type is
        keep_forks_safe()

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """Find the faces in each photo; photos of one size are searched in batches."""
        require_sequence(images)
        found: list[list[Face]] = [[] for _ in images]
        waiting: dict[tuple[int, ...], list[_Waiting]] = {}
        held = 0
        kind = self._device.type if self._device.type in _BATCH_SIZE else "cpu"
        for index, source in enumerate(images):
            pixels, photo_size = pixels_to_search(source, self.max_side)
            height, width = pixels.shape[:2]
            if min(height, width) * (12.0 / self.min_face_size) < 12:
                continue  # smaller than the first level of MTCNN's pyramid, with its rounding
            group = waiting.setdefault(pixels.shape, [])
            group.append(_Waiting(index, pixels, photo_size))
            held += height * width
            together = min(_BATCH_SIZE[kind], _BATCH_PIXELS[kind] // (height * width))
            if len(group) >= together:
                held -= len(group) * height * width
                self._search(waiting.pop(pixels.shape), found)
            if held >= _WAITING_PIXELS:
                self._search_all(waiting, found)
                held = 0
        self._search_all(waiting, found)
        return found

    def _search_all(self, waiting: dict[tuple[int, ...], list[_Waiting]], found: list[list[Face]]) -> None:
        for group in waiting.values():
            self._search(group, found)
        waiting.clear()

    def _search(self, group: list[_Waiting], found: list[list[Face]]) -> None:
        """Search photos of one size and put their faces at their positions in `found`."""
        batch = torch.from_numpy(np.stack([photo.pixels for photo in group]))
        # MTCNN takes channels last, but resizes faster if they are stored first.
        planar = batch.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        found_faces = zip(*self._network.detect(planar, landmarks=True), strict=True)
        for photo, (boxes, scores, landmarks) in zip(group, found_faces, strict=True):
            if boxes is not None:
                height, width = photo.pixels.shape[:2]
                ratio = np.divide(photo.photo_size, (width, height))
                found[photo.position] = self._faces(boxes * np.tile(ratio, 2), scores, landmarks * ratio)

    def _faces(self, boxes: Numbers, scores: Numbers, landmarks: Numbers) -> list[Face]:
        good = (scores >= self.min_score) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
        faces = zip(boxes[good], scores[good], landmarks[good], strict=True)
        return largest_first(
            [Face(tuple(box), min(score, 1.0), tuple(map(tuple, five))) for box, score, five in faces]
        )
