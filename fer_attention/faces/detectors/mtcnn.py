"""MTCNN as a face detector; its weights come with facenet-pytorch, so nothing is downloaded."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fer_attention.device import resolve_device
from fer_attention.faces.detectors.registry import DETECTORS
from fer_attention.faces.detectors.shrinking import checked_max_side, shrunk
from fer_attention.faces.face import Face, largest_first
from fer_attention.faces.images import ImageSource, load_image, require_several

Numbers: TypeAlias = npt.NDArray[Any]

_PIXELS_AT_ONCE = 4_000_000  # 210 MB in the networks at the default min_face_size, 430 MB at 12 (on a CPU)


class _Waiting(NamedTuple):
    place: int
    copy: Image.Image
    photo_size: tuple[int, int]


@DETECTORS.register("mtcnn")
class MTCNNDetector:
    """Multi-task cascaded networks (Zhang et al. 2016, arXiv:1604.02878) with facenet-pytorch's weights.

    Gives boxes and five landmarks. A picture without faces, or smaller than a face, gives an empty list. It
    was trained on faces with their surroundings and misses many in tightly cropped pictures.

    Args:
        device: "auto" (the GPU where there is one), or any torch device.
        min_face_size: Side in pixels of the smallest faces looked for, at least 12; time falls about with
            its square. Counted after the shrinking by `max_side`.
        thresholds: Least score that passes each of the three networks.
        min_score: Least score of a reported face. The last network scores false finds up to about 0.85.
        max_side: Larger photos are shrunk to this longer side for the search, which bounds its time and
            makes `min_face_size * longer side / max_side` the smallest face found in such a photo. Boxes and
            landmarks are in pixels of the photo as it came. None never shrinks.

    Raises:
        ValueError: A number is out of its range.
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
                f"min_face_size is at least 12 pixels, the networks' own window; got {min_face_size}."
            )
        if len(thresholds) != 3 or not all(0 <= threshold <= 1 for threshold in thresholds):
            raise ValueError(f"thresholds are three scores in [0, 1], one a network; got {thresholds!r}.")
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score lies in [0, 1]; got {min_score}.")
        resolved = resolve_device(device)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            # facenet_pytorch edits the warning filters when imported, and draws before it loads its weights
            from facenet_pytorch import MTCNN

            network = MTCNN(
                min_face_size=min_face_size, thresholds=list(thresholds), keep_all=True, device=resolved
            )
        self.min_score = min_score
        self.min_face_size = min_face_size
        self.max_side = checked_max_side(max_side, least=min_face_size)
        self._network = network.eval()

    def detect(self, images: Sequence[ImageSource]) -> list[list[Face]]:
        """Finds the faces of each photo; photos of one size go through the networks together.

        Args:
            images: Photos, of any sizes, each anything that `load_image` takes. They are read as they are
                needed: a long list of paths does not fill the memory.

        Returns:
            One list for each photo, in order: its faces, the largest first; empty where there are none.

        Raises:
            TypeError: A lone photo came instead of a sequence.
            ImageError: A photo cannot be read.
        """
        require_several(images)
        found: list[list[Face]] = [[] for _ in images]
        waiting: dict[tuple[int, int], list[_Waiting]] = {}
        pixels = 0
        for index, source in enumerate(images):
            photo = load_image(source)
            copy = shrunk(photo, self.max_side)
            waiting.setdefault(copy.size, []).append(_Waiting(index, copy, photo.size))
            pixels += copy.width * copy.height
            if pixels >= _PIXELS_AT_ONCE:
                self._search(waiting, found)
                pixels = 0
        self._search(waiting, found)
        return found

    def _search(self, waiting: dict[tuple[int, int], list[_Waiting]], found: list[list[Face]]) -> None:
        """Empties `waiting`, putting each photo's faces into its place in `found`."""
        for size, group in waiting.items():
            if min(size) * (12.0 / self.min_face_size) < 12:  # as MTCNN rounds it: no level in its pyramid
                continue
            batch = np.stack([np.asarray(photo.copy) for photo in group])
            finds = zip(*self._network.detect(batch, landmarks=True), strict=True)
            for photo, (boxes, scores, landmarks) in zip(group, finds, strict=True):
                if boxes is not None:
                    ratio = np.divide(photo.photo_size, size)
                    found[photo.place] = self._faces(boxes * np.tile(ratio, 2), scores, landmarks * ratio)
        waiting.clear()

    def _faces(self, boxes: Numbers, scores: Numbers, landmarks: Numbers) -> list[Face]:
        good = (scores >= self.min_score) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
        faces = zip(boxes[good], scores[good], landmarks[good], strict=True)
        return largest_first(
            [Face(tuple(box), min(score, 1.0), tuple(map(tuple, five))) for box, score, five in faces]
        )
