"""Batches of crops: from uint8 tensors on the device, or from files read by worker processes.

The images of a step are a pure function of (seed, epoch, step, rank), so a run can resume at any step without
saving the state of a sampler.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from fer_attention.data import FaceDataset
from fer_attention.data.files import ImageFiles
from fer_attention.preprocessing import Preprocessing
from fer_attention.training.config import TrainConfig

MEASURED_FILES = 10_000
"""Largest number of files to read for mean and standard deviation; evenly spaced in larger sets."""


def epoch_order(labels: NDArray[np.int64], config: TrainConfig, epoch: int) -> torch.Tensor:
    """Return the order of an epoch's rows over all processes, int64 (N,).

    `balanced` sampling draws with replacement, so that all classes of the set are equally frequent on
    average.
    """
    generator = torch.Generator().manual_seed(config.seed_of("order") * 1_000_003 + epoch)
    if config.sampling == "shuffle":
        return torch.randperm(len(labels), generator=generator)
    counts = np.bincount(labels)
    weights = torch.from_numpy(1 / counts[labels])
    return torch.multinomial(weights, len(labels), replacement=True, generator=generator)


class Batches:
    """Batches of one process: uint8 images (B, C, H, W) and their rows in the set, on the device.

    Attributes:
        steps: Full steps of an epoch over all processes; the remaining images, which vary by epoch, are
        skipped.
    """

    def __init__(
        self,
        data: FaceDataset,
        config: TrainConfig,
        *,
        preprocessing: Preprocessing,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.config, self.device, self.rank, self.processes = config, device, rank, processes
        self.labels = data.labels
        self._images: torch.Tensor | _Files
        if isinstance(data.images, ImageFiles):
            self._images = _Files(data.images, preprocessing)
        else:
            self._images = torch.from_numpy(preprocessing.prepare(data.images)).to(device)
        self.steps = len(data) // self.step_size

    @property
    def step_size(self) -> int:
        """Images per step over all processes and passes."""
        return self.config.batch_size * self.config.accumulate * self.processes

    def epoch(self, number: int, *, start: int = 0) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
        """Yield the passes (images, rows) of this process for each step from `start` on."""
        order = epoch_order(self.labels, self.config, number)
        shape = self.steps, self.config.accumulate, self.processes, self.config.batch_size
        steps = order[: self.steps * self.step_size].view(shape)[start:, :, self.rank].to(self.device)
        images = self._read(steps.flatten(0, 1))
        for step in steps:
            yield [(next(images), rows) for rows in step]

    def in_order(self, size: int = 256) -> Iterator[torch.Tensor]:
        """Yield all images once in the order of their rows, uint8 (up to `size`, C, H, W)."""
        return self._read(torch.split(torch.arange(len(self.labels), device=self.device), size))

    def _read(self, batches: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the images of each batch of rows, on the device."""
        if isinstance(self._images, torch.Tensor):
            yield from (self._images[rows] for rows in batches)
            return
        loader = DataLoader(
            self._images,
            sampler=[rows.tolist() for rows in batches],
            batch_size=None,  # each item of `_Files` is a batch
            num_workers=self.config.workers,
            pin_memory=self.device.type == "cuda",
            # otherwise the workers' base seed would come from, and advance, the global random state
            generator=torch.Generator().manual_seed(self.config.seed),
        )
        for images in loader:
            yield images.to(self.device, non_blocking=True)


@dataclass(frozen=True)
class _Files(Dataset[torch.Tensor]):
    """Batches of images that stay on disk, prepared for the model."""

    files: ImageFiles
    preprocessing: Preprocessing

    def __getitem__(self, rows: list[int]) -> torch.Tensor:
        return torch.from_numpy(self.preprocessing.prepare(self.files[rows]))


def measure_normalization(preprocessing: Preprocessing, data: FaceDataset) -> Preprocessing:
    """Set mean and standard deviation of the preprocessing to those of the crops, per channel."""
    images = data.images
    if isinstance(images, ImageFiles) and len(images) > MEASURED_FILES:
        images = images.take(np.linspace(0, len(images) - 1, MEASURED_FILES).astype(np.int64))
    channels = preprocessing.channels
    count, total, squares = 0, torch.zeros(channels).double(), torch.zeros(channels).double()
    for start in range(0, len(images), 1024):
        block = torch.from_numpy(preprocessing.prepare(images[start : start + 1024])).double() / 255
        pixels = block.transpose(0, 1).reshape(channels, -1)
        count, total, squares = count + pixels.shape[1], total + pixels.sum(1), squares + (pixels**2).sum(1)
    mean = total / count
    std = (squares / count - mean**2).clamp(min=0).sqrt()
    return replace(
        preprocessing,
        mean=tuple(round(value, 4) for value in mean.tolist()),
        std=tuple(max(round(value, 4), 1e-3) for value in std.tolist()),
    )
