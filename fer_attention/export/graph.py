"""The graph that is exported, from uint8 crops to logits, and its verification against the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.fx import config as tracing

import fer_attention
from fer_attention.atomic import replacing
from fer_attention.classifiers.base import Pixels
from fer_attention.data import FaceDataset, ImageFiles
from fer_attention.models import FERModel, ModelMetadata
from fer_attention.preprocessing import Preprocessing

Logits: TypeAlias = NDArray[np.float32]
Run: TypeAlias = Callable[[Pixels], Logits]
Faces: TypeAlias = FaceDataset | ImageFiles | Pixels
"""Whole crops of any size: labelled ones, files, or uint8 (N, h, w) grey or (N, h, w, 3) RGB."""

BATCHES = (1, 3)
NOISE = 4


class ExportError(ValueError):
    """A model cannot be exported or quantised, or the file differs from the model.

    >>> issubclass(ExportError, ValueError)
    True
    """


@dataclass(frozen=True)
class Export:
    """A file that was written, and the result of its verification.

    >>> Export(Path("model.pt2"), checked=5, difference=2e-6).difference < 1e-4
    True

    Attributes:
        path: The file.
        checked: Number of crops on which file and model were compared, in batches of one and of three.
        difference: Largest difference of logits (`largest_difference`).
        opset: Version of ONNX's operators, for an ONNX file.
    """

    path: Path
    checked: int
    difference: float
    opset: int | None = None


class PixelClassifier(nn.Module):
    """A model behind its own standardisation: uint8 (N, C, H, W) -> logits (N, classes).

    It holds a copy in float32 on the CPU, in evaluation mode; the model itself stays as it is.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: FERModel, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = deepcopy(model).float().cpu()
        for name, numbers in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(numbers).view(-1, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Standardise crops as `Preprocessing.normalize` does, and compute their logits."""
        return self.model((crops.float() / 255 - self.mean) / self.std)

    @torch.inference_mode()
    def logits(self, crops: Pixels) -> Logits:
        """Compute the logits of NumPy arrays."""
        return self(torch.from_numpy(crops)).numpy()


def write_verified(
    model: FERModel,
    path: str | os.PathLike[str],
    write: Callable[[torch.export.ExportedProgram, ModelMetadata, Path], Run],
    *,
    what: str,
    suffix: str,
    faces: Faces | None,
    tolerance: float,
) -> Export:
    """Write a model's graph to a file that gets its name only if it gives the model's logits.

    Args:
        model: A model with labels and preprocessing.
        path: Path of the file.
        write: Writes a program and its metadata to a temporary file, and returns a function that runs it.
        what: Kind of file, for messages.
        suffix: Suffix that `path` must have.
        faces: Crops to compare on, besides noise and the package's own face.
        tolerance: Largest allowed difference of logits.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ExportError: The file differs from the model.
        ValueError: The suffix is another one, or the tolerance is not a number above 0.
    """
    path = Path(path)
    check_suffix(path, suffix)
    if not 0 < tolerance < float("inf"):
        raise ValueError(f"tolerance is a number above 0, got {tolerance}.")
    metadata = ModelMetadata.of(model, {**model.record, "fer_attention": fer_attention.__version__})
    crops = check_crops(metadata.preprocessing, faces)
    network = PixelClassifier(model, metadata.preprocessing)
    with replacing(path) as temporary:
        with _without_stack_traces():
            run = write(exported(network, metadata.preprocessing), metadata, temporary)
        difference = largest_difference(network.logits, run, crops)
        if not difference <= tolerance:
            raise ExportError(
                f"{what} differs from the model: logits by {difference:.2g}, allowed are {tolerance:.2g}. "
                "No file was written. If the weights are finite and the difference is small, raise tolerance."
            )
    return Export(path, len(crops), difference)


def check_suffix(path: Path, suffix: str) -> None:
    """Check the suffix of a path, by which readers recognise the format; raise a ValueError if it differs."""
    if path.suffix != suffix:
        raise ValueError(f"The file's name must end in {suffix}; got {path.name!r}.")


@contextmanager
def _without_stack_traces() -> Iterator[None]:
    """Trace without the stack trace of each operator, which takes a third of an export and is not written.

    Older versions of torch ignore the setting.
    """
    before = getattr(tracing, "do_not_emit_stack_traces", False)
    tracing.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        tracing.do_not_emit_stack_traces = before


def exported(network: PixelClassifier, preprocessing: Preprocessing) -> torch.export.ExportedProgram:
    """Trace the network for any number of crops.

    Gates appear as their plain modules (`attention.fused.why_plain`), for the runtime to fuse. Stack traces
    are removed from the graph, since they contain paths of this machine.
    """
    crops = torch.zeros(2, preprocessing.channels, *preprocessing.size, dtype=torch.uint8)
    batch: Any = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(network, (crops,), dynamic_shapes=({0: batch},), strict=False)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


def images_of(faces: Faces) -> Pixels | ImageFiles:
    """Return the images alone; files are not read.

    Raises:
        ValueError: An array is not uint8, or neither grey (N, h, w) nor RGB (N, h, w, 3).
    """
    images = faces.images if isinstance(faces, FaceDataset) else faces
    rgb = images.ndim == 4 and images.shape[-1] == 3
    if images.dtype != np.uint8 or not (images.ndim == 3 or rgb):
        raise ValueError(
            f"Faces are uint8 (N, h, w) grey or (N, h, w, 3) RGB; got {images.dtype} {images.shape}."
        )
    return images


def check_crops(preprocessing: Preprocessing, faces: Faces | None) -> Pixels:
    """Return uint8 crops (N, C, H, W) to compare on: noise, the package's own face, and the given faces.

    The package's face is that of the astronaut Eileen Collins (NASA, public domain), 80×80 pixels, grey.
    """
    shape = (NOISE, preprocessing.channels, *preprocessing.size)
    crops = [np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)]
    with resources.files("fer_attention.export").joinpath("face.png").open("rb") as file:
        crops.append(preprocessing.prepare(np.asarray(Image.open(file))[None]))
    if faces is not None and len(faces):
        crops.append(preprocessing.prepare(images_of(faces)[:]))
    return np.concatenate(crops)


def largest_difference(expected: Run, actual: Run, crops: Pixels) -> float:
    """Compute the largest difference of logits over all crops, in batches of one and of three.

    If logits exceed 1, the difference is relative to the largest: float32 has digits, not decimals. A logit
    that is not finite, on either side, gives infinity.
    """
    apart = 0.0
    for size in BATCHES:
        for start in range(0, len(crops), size):
            batch = crops[start : start + size]
            wanted, got = expected(batch), actual(batch)
            if wanted.shape != got.shape or not (np.isfinite(wanted).all() and np.isfinite(got).all()):
                return float("inf")
            apart = max(apart, float(np.abs(wanted - got).max() / max(1.0, np.abs(wanted).max())))
    return apart
