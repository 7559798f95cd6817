"""Images that are in a set more than once: pixel for pixel, or the same photograph again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fer_attention.data.files import ImageFiles, digest

Images = NDArray[np.uint8] | ImageFiles

SIDE = 24
"""Pixels that images are averaged down to before they are compared."""

BLOCK = 2048
"""Images that are read, and compared with as many others, at once."""

FLAT = 2.0
"""Standard deviation in grey levels below which an image shows nothing to compare."""


@dataclass(frozen=True)
class NearPair:
    """Two images that correlate though they are not identical: rows `first` < `second`."""

    first: int
    second: int
    correlation: float
    mirrored: bool


def exact_groups(images: Images) -> list[list[int]]:
    """Return groups of two or more rows whose images are identical pixel for pixel, in order."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        rows[digest(image)].append(row)
    return [group for group in rows.values() if len(group) > 1]


def spreads(images: Images) -> NDArray[np.float64]:
    """Compute the standard deviation of each image, (N,), in grey levels; the largest over channels."""
    return np.array([image.std(axis=(0, 1)).max() for image in images])


def near_pairs(
    images: Images,
    *,
    threshold: float = 0.95,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[NearPair]:
    """Find all pairs that correlate at the threshold or above, upright or mirrored, but are not identical.

    Each image is averaged down to 24×24 grey pixels, less its mean, and divided by its norm; the correlation
    is the inner product. In FER2013, all 48 pairs drawn from those at 0.95 to 0.96 showed one photograph
    twice: other contrast, another watermark, shifted or recompressed. Nearly flat images are not compared.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), in memory or on the disk.
        threshold: Least correlation.
        on_progress: Called with blocks done and blocks in all.
    """
    even, odd, rows = _halves(images)
    pairs: list[NearPair] = []
    starts = range(0, len(even), BLOCK)
    total, done = len(starts) * (len(starts) + 1) // 2, 0
    for i in starts:
        for j in starts[i // BLOCK :]:
            # upright is even + odd, mirrored is even - odd; the larger of the two is even + |odd|
            across = odd[i : i + BLOCK] @ odd[j : j + BLOCK].T
            best = across.abs().add_(even[i : i + BLOCK] @ even[j : j + BLOCK].T)
            for a, b in (best >= threshold).nonzero().tolist():
                first, second = int(rows[i + a]), int(rows[j + b])
                if first < second:
                    pairs.append(NearPair(first, second, float(best[a, b]), bool(across[a, b] < 0)))
            done += 1
            on_progress(done, total)
    if not pairs:
        return []
    seen = {row for pair in pairs for row in (pair.first, pair.second)}
    pixels = {row: digest(image) for row, image in enumerate(images) if row in seen}
    return [pair for pair in pairs if pixels[pair.first] != pixels[pair.second]]


def _halves(images: Images) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.int64]]:
    """Return the even and odd parts (under mirroring) of the normalised images, and their rows.

    Both have half as many numbers as an image: a product of each gives the upright and the mirrored
    correlation.
    """
    if not len(images):
        return torch.empty(0, 1), torch.empty(0, 1), np.empty(0, dtype=np.int64)
    even, odd, rows = [], [], []
    for start in range(0, len(images), BLOCK):
        block = torch.from_numpy(np.array(images[start : start + BLOCK])).float()
        grey = block if block.ndim == 3 else block.mean(-1)
        keep = grey.flatten(1).std(1) >= FLAT
        small = torch.nn.functional.adaptive_avg_pool2d(grey[keep][:, None], SIDE)[:, 0]
        small = small - small.mean((1, 2), keepdim=True)
        small = small / small.flatten(1).norm(dim=1).clamp(min=1e-6)[:, None, None]
        mirrored = small.flip(2)
        half = SIDE // 2
        even.append(((small + mirrored)[:, :, :half] / 2**0.5).flatten(1))
        odd.append(((small - mirrored)[:, :, :half] / 2**0.5).flatten(1))
        rows.append(keep.nonzero()[:, 0].numpy() + start)
    return torch.cat(even), torch.cat(odd), np.concatenate(rows)
