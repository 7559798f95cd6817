"""Data sets of a study, read once per process, and a synthetic one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fer_attention.data import DataError, FaceDataset, load_data
from fer_attention.data.origin import data_origin
from fer_attention.emotions import FER2013
from fer_attention.registry import unknown_name
from fer_attention.study.config import DataConfig, StudyConfig, StudyError

SYNTHETIC = "synthetic"


class DataSets:
    """Data sets of a study, each read on first use.

    Args:
        study: The study.
        paths: Paths by name; the other data sets are at the path in the study's file.

    Raises:
        StudyError: A path is given for an unknown data set, or a data set has no path.
    """

    def __init__(self, study: StudyConfig, paths: Mapping[str, Path] | None = None) -> None:
        paths = dict(paths or {})
        if unknown := sorted(set(paths) - set(study.data)):
            raise StudyError(f"The study has no data set {unknown[0]!r}; it has {', '.join(study.data)}.")
        self._sources = {name: (config, paths.get(name, config.path)) for name, config in study.data.items()}
        for name, (config, path) in self._sources.items():
            if path is not None and config.data_format == SYNTHETIC:
                raise StudyError(f"The data set {name} is synthetic and takes no path; got {path}.")
            if path is None and config.data_format != SYNTHETIC:
                raise StudyError(f"The data set {name} needs a path: use --data {name}=PATH.")
        self._read: dict[str, FaceDataset] = {}

    def __getitem__(self, name: str) -> FaceDataset:
        """Return a data set.

        Raises:
            StudyError: The data set does not exist, is damaged or has an unknown layout.
        """
        if name not in self._read:
            try:
                self._read[name] = _read(*self._sources[name])
            except (DataError, TypeError, ValueError, OSError) as error:
                raise _unreadable(name, error) from error
        return self._read[name]

    def origins(self) -> dict[str, Any]:
        """Return the origin of each data set by name, see `data_origin`."""
        return {name: _origin(name, *source) for name, source in self._sources.items()}

    def all(self) -> dict[str, FaceDataset]:
        """Return all data sets by name."""
        return {name: self[name] for name in self._sources}


def _origin(name: str, config: DataConfig, path: Path | None) -> dict[str, Any]:
    try:
        return data_origin(path, config.data_format, config.options)
    except (DataError, OSError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> StudyError:
    return StudyError(f"The data set {name} cannot be read: {error}")


def _read(config: DataConfig, path: Path | None) -> FaceDataset:
    if path is not None:
        return load_data(path, data_format=config.data_format, **config.options)
    known = inspect.signature(synthetic_faces).parameters
    if unknown := sorted(set(config.options) - set(known)):
        raise unknown_name("option of synthetic data", unknown[0], known)
    return synthetic_faces(**config.options)


def synthetic_faces(
    *, images: int = 280, size: int = 16, noise: float = 60.0, subjects: int | None = None, seed: int = 0
) -> FaceDataset:
    """Create noisy images for trying out a study: the label is the position of a bright bar.

    The splits train, validation and test hold 60, 20 and 20 % of the images.

    >>> synthetic_faces(images=70).split("train").images.shape
    (42, 16, 16)

    Args:
        images: Number of images, 35 or more.
        size: Side in pixels, 14 or more.
        noise: Standard deviation of the noise in grey levels.
        subjects: Number of subjects; None for images without subjects.
        seed: Seed of the noise.

    Raises:
        ValueError: A number is out of range.
    """
    if images < 35 or size < 14 or noise < 0 or (subjects is not None and subjects < 1):
        needs = "synthetic_faces needs images >= 35, size >= 14, noise >= 0 and subjects >= 1"
        raise ValueError(f"{needs}; got {images}, {size}, {noise}, {subjects}.")
    generator = np.random.default_rng(seed)
    classes = len(FER2013)
    labels = np.arange(images) % classes
    pixels = generator.normal(80, noise, (images, size, size))
    thickness = size // classes
    for image, label in zip(pixels, labels, strict=True):
        image[label * thickness : (label + 1) * thickness] += 90
    fifth = np.arange(images) // classes % 5
    people = None if subjects is None else np.array([f"P{number % subjects:02d}" for number in range(images)])
    return FaceDataset(
        images=pixels.clip(0, 255).astype(np.uint8),
        labels=labels,
        names=np.array([f"synthetic_{number}" for number in range(images)]),
        splits=np.where(fifth < 3, "train", np.where(fifth < 4, "validation", "test")),
        label_names=FER2013,
        subjects=people,
    )
