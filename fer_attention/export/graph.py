"""A model as torch.export sees it: from uint8 crops to logits, for any number of faces."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

import fer_attention
from fer_attention.classifiers.base import Pixels
from fer_attention.export.check import Logits
from fer_attention.models import FERModel, ModelMetadata
from fer_attention.preprocessing import Preprocessing


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


def metadata_of(model: FERModel) -> ModelMetadata:
    """Metadata of an exported file: the model's, with the version of this library in its record.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
    """
    return ModelMetadata.of(model, {**model.record, "fer_attention": fer_attention.__version__})
