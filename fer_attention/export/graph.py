"""A model as torch.export sees it: from uint8 crops to logits, for any number of faces."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

import fer_attention
from fer_attention.atomic import replacing
from fer_attention.classifiers.base import Pixels
from fer_attention.export.check import (
    ExportError,
    Faces,
    Logits,
    check_crops,
    check_suffix,
    largest_difference,
)
from fer_attention.models import FERModel, ModelMetadata
from fer_attention.preprocessing import Preprocessing

Run: TypeAlias = Callable[[Pixels], Logits]


@dataclass(frozen=True)
class Export:
    """A file that was written, and how it was checked.

    Attributes:
        path: The file.
        checked: Crops on which it was compared with the model, each alone and among three.
        difference: The largest difference of logits (`check.largest_difference`).
        opset: Version of ONNX's operators in an ONNX file.
    """

    path: Path
    checked: int
    difference: float
    opset: int | None = None


class PixelClassifier(nn.Module):
    """A model behind its own standardisation: uint8 (N, C, H, W) -> logits (N, classes).

    It works on a copy in float32 on the CPU, in evaluation mode, so that the model stays as it is.
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
        """As `Preprocessing.normalize`, then the model."""
        return self.model((crops.float() / 255 - self.mean) / self.std)

    @torch.inference_mode()
    def logits(self, crops: Pixels) -> Logits:
        """The same on NumPy arrays."""
        return self(torch.from_numpy(crops)).numpy()


def exported(network: PixelClassifier, preprocessing: Preprocessing) -> torch.export.ExportedProgram:
    """The network's graph with any number of crops as its first dimension.

    Gates stand in it as their plain modules (`attention.fused.why_plain`): whoever runs the graph fuses for
    himself. The graph's notes on source lines are taken out, which would tell of the machine's folders.
    """
    crops = torch.zeros(2, preprocessing.channels, *preprocessing.size, dtype=torch.uint8)
    batch: Any = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(network, (crops,), dynamic_shapes=({0: batch},), strict=False)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


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
    """Write a model's graph, and give the file its name if it computes what the model computes.

    `write` writes program and metadata to a temporary file, and gives a function that runs it; `what` is the
    kind of file, for messages. The record in the metadata gets the version of this library.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ExportError: The file differs from the model.
        ValueError: The tolerance is no number above 0.
    """
    path = Path(path)
    check_suffix(path, suffix)
    if not 0 < tolerance < float("inf"):
        raise ValueError(f"tolerance is a number above 0, got {tolerance}.")
    metadata = ModelMetadata.of(model, {**model.record, "fer_attention": fer_attention.__version__})
    crops = check_crops(metadata.preprocessing, faces)
    network = PixelClassifier(model, metadata.preprocessing)
    with replacing(path) as temporary:
        run = write(exported(network, metadata.preprocessing), metadata, temporary)
        difference = largest_difference(network.logits, run, crops)
        if not difference <= tolerance:
            raise ExportError(
                f"{what} differs from the model: logits by {difference:.2g}, allowed are {tolerance:.2g}. "
                "No file was written. If the weights are finite and the difference is small, raise tolerance."
            )
    return Export(path, len(crops), difference)
