"""The MTCNN cascade (Zhang et al. 2016, arXiv:1604.02878) around facenet-pytorch's three trained networks.

The networks are facenet-pytorch's; the steps between them are ours. Its own `MTCNN.detect` finds the same
faces, but fails on pictures smaller than a face and on candidates that lie outside the picture, and can let
a box of one picture suppress that of another. Importing this module loads facenet-pytorch and torchvision.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import nms

WINDOW = 12  # pixels: side of the window that the first network judges, with a stride of 2
_STRIDE = 2
_SHRINK = 0.709  # from one level of the pyramid to the next: half the area
_CROPS_AT_ONCE = 512


class Finds(NamedTuple):
    """The K faces of one picture, in its pixels."""

    boxes: npt.NDArray[np.float64]  # (K, 4) x1, y1, x2, y2
    scores: npt.NDArray[np.float64]  # (K,)
    landmarks: npt.NDArray[np.float64]  # (K, 5, 2)


class Candidates(NamedTuple):
    """Boxes that are still in the race, K in all.

    Boxes hold x1, y1, x2, y2 in pixels counted from one, as in the authors' MATLAB code.
    """

    boxes: Tensor  # (K, 4)
    scores: Tensor  # (K,)
    owner: Tensor  # (K,) index of the picture
    extra: Tensor  # (K, E): the next correction of the box, or the landmarks

    def take(self, index: Tensor) -> Candidates:
        """Those at `index` (positions or a mask)."""
        return Candidates(*(field[index] for field in self))


class Cascade:
    """P-Net proposes boxes at all sizes, R-Net weeds them out, O-Net settles box, score and landmarks.

    Args:
        device: Where the networks run.
        min_face_size: Side in pixels of the smallest faces looked for.
        thresholds: Least score that passes P-Net, R-Net and O-Net.
    """

    def __init__(
        self, device: torch.device, *, min_face_size: float, thresholds: tuple[float, float, float]
    ) -> None:
        # Filling fresh layers draws random numbers, which would shift the caller's stream.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            nets = PNet(), RNet(), ONet()
        self.pnet, self.rnet, self.onet = (
            net.to(device, torch.float32).eval().requires_grad_(False) for net in nets
        )
        self.device = device
        self.min_face_size = min_face_size
        self.thresholds = thresholds

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> list[Finds]:
        """Finds faces in pictures of one size.

        Args:
            images: (N, 3, H, W), uint8, RGB.
        """
        pixels = images.to(self.device, torch.float32)
        found = self._settle(pixels, self._weed_out(pixels, self._propose(pixels)))
        found = Candidates(*(field.cpu() for field in found))
        results = []
        for index in range(len(images)):
            own = found.take(found.owner == index)
            own = own.take(_nms_of_smaller(own.boxes, own.scores, 0.7))
            parts = own.boxes, own.scores, own.extra.reshape(-1, 5, 2)
            results.append(Finds(*(part.numpy().astype(np.float64) for part in parts)))
        return results

    def _propose(self, pixels: Tensor) -> Candidates:
        height, width = pixels.shape[-2:]
        scale = WINDOW / self.min_face_size
        shorter = min(height, width) * scale
        levels = [_no_candidates(pixels, extra=4)]
        while shorter >= WINDOW:
            level = _resized(pixels, int(height * scale + 1), int(width * scale + 1))
            correction, scores = self.pnet(level)
            levels.append(self._windows(correction, scores[:, 1], scale))
            scale, shorter = scale * _SHRINK, shorter * _SHRINK
        found = Candidates(*map(torch.cat, zip(*levels, strict=True)))
        found = found.take(_nms(found, 0.7))
        size = found.boxes[:, 2:] - found.boxes[:, :2]
        boxes = found.boxes + found.extra * size.repeat(1, 2)
        return found._replace(boxes=_squared(boxes))

    def _windows(self, correction: Tensor, scores: Tensor, scale: float) -> Candidates:
        """Windows of one pyramid level that pass P-Net: correction (N, 4, h, w), scores (N, h, w)."""
        owner, row, column = torch.nonzero(scores >= self.thresholds[0], as_tuple=True)
        corner = _STRIDE * torch.stack([column, row], dim=1).to(scores.dtype)
        boxes = torch.cat([(corner + 1) / scale, (corner + WINDOW) / scale], dim=1).floor()
        found = Candidates(boxes, scores[owner, row, column], owner, correction[owner, :, row, column])
        return found.take(_nms(found, 0.5))

    def _weed_out(self, pixels: Tensor, found: Candidates) -> Candidates:
        found, crops = _cropped(pixels, found, 24)
        if not len(crops):
            return found
        correction, scores = _in_chunks(self.rnet, crops)
        found = found._replace(scores=scores[:, 1], extra=correction)
        found = found.take(found.scores > self.thresholds[1])
        found = found.take(_nms(found, 0.7))
        return found._replace(boxes=_squared(_corrected(found.boxes, found.extra)))

    def _settle(self, pixels: Tensor, found: Candidates) -> Candidates:
        found, crops = _cropped(pixels, found, 48)
        if not len(crops):
            return _no_candidates(pixels, extra=10)
        correction, landmarks, scores = _in_chunks(self.onet, crops)
        size = found.boxes[:, 2:] - found.boxes[:, :2] + 1
        # O-Net gives five x, then five y, as fractions of the crop.
        points = landmarks.reshape(-1, 2, 5).transpose(1, 2) * size[:, None] + found.boxes[:, None, :2] - 1
        found = Candidates(_corrected(found.boxes, correction), scores[:, 1], found.owner, points.flatten(1))
        return found.take(found.scores > self.thresholds[2])


def _no_candidates(pixels: Tensor, *, extra: int) -> Candidates:
    return Candidates(
        pixels.new_zeros(0, 4),
        pixels.new_zeros(0),
        pixels.new_zeros(0, dtype=torch.int64),
        pixels.new_zeros(0, extra),
    )


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    return (interpolate(pixels, size=(height, width), mode="area") - 127.5) / 128


def _in_chunks(net: nn.Module, crops: Tensor) -> tuple[Tensor, ...]:
    return tuple(map(torch.cat, zip(*map(net, torch.split(crops, _CROPS_AT_ONCE)), strict=True)))


def _cropped(pixels: Tensor, found: Candidates, side: int) -> tuple[Candidates, Tensor]:
    """The candidates that show some of their picture, and what they show: (K, 3, side, side)."""
    height, width = pixels.shape[-2:]
    corners = found.boxes.trunc().int()
    low = corners[:, :2].clamp(min=1)
    high = corners[:, 2:].minimum(corners.new_tensor([width, height]))
    seen = (low <= high).all(dim=1)
    found = found.take(seen)
    places = torch.cat([found.owner[:, None], low[seen] - 1, high[seen]], dim=1).tolist()
    crops = [_resized(pixels[i : i + 1, :, y1:y2, x1:x2], side, side) for i, x1, y1, x2, y2 in places]
    return found, torch.cat([*crops, pixels.new_zeros(0, 3, side, side)])


def _corrected(boxes: Tensor, correction: Tensor) -> Tensor:
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + correction * size.repeat(1, 2)


def _squared(boxes: Tensor) -> Tensor:
    """The squares about the boxes' centres, with the longer side."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.amax(dim=1, keepdim=True)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return torch.cat([corner, corner + side], dim=1)


def _nms(found: Candidates, threshold: float) -> Tensor:
    """Positions that survive non-maximum suppression by IoU within each picture."""
    kept = [found.owner[:0]]
    for index in torch.unique(found.owner).tolist():
        own = torch.nonzero(found.owner == index)[:, 0]
        kept.append(own[cast("Tensor", nms(found.boxes[own], found.scores[own], threshold))])
    return torch.cat(kept)


def _nms_of_smaller(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Suppression by overlap over the smaller box, which also drops a box inside another."""
    area = (boxes[:, 2:] - boxes[:, :2] + 1).prod(dim=1)
    order = scores.argsort(descending=True, stable=True)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = boxes[order, :2].maximum(boxes[best, :2])
        high = boxes[order, 2:].minimum(boxes[best, 2:])
        shared = (high - low + 1).clamp(min=0).prod(dim=1)
        order = order[shared <= threshold * area[order].minimum(area[best])]
    return torch.stack(kept) if kept else order
