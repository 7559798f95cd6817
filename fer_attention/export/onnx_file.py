"""Models as ONNX files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fer_attention.classifiers.onnx_classifier import INPUT, OUTPUT, OnnxClassifier
from fer_attention.export.check import ExportError, Faces
from fer_attention.export.graph import Export, Run, write_verified
from fer_attention.models import FERModel, ModelMetadata
from fer_attention.optional import needs_extra

OPSET = 18
"""The operators' version that torch's exporter writes without conversion; ONNX Runtime runs it from 1.14."""


def export_onnx(
    model: FERModel,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    faces: Faces | None = None,
    tolerance: float = 1e-4,
) -> Export:
    """Write a model as an ONNX file that knows its labels and its preprocessing.

    The graph has one input `crops`, uint8 (N, C, H, W) for any N, and one output `logits`, float32
    (N, classes). The file's metadata is that of weights files; its record holds the library's version.

    Args:
        model: A model with labels and preprocessing; it stays as it is.
        path: Where to, ending in `.onnx`; the folder must exist.
        opset: Version of ONNX's operators, 18 or later; None takes 18.
        faces: Crops to compare file and model on, beside noise and one face that is always there.
        tolerance: The largest difference of logits, relative to the largest logit where that is above 1.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ExportError: The model cannot be exported, or the file differs from it; no file is left then.
        ValueError: Another suffix, an opset or a tolerance that cannot be.
        ImportError: onnx, onnxscript or onnxruntime is missing.
        FileNotFoundError: The folder does not exist.
    """
    with needs_extra("export", "ONNX files are written by onnx and onnxscript, and checked by ONNX Runtime"):
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    opset = OPSET if opset is None else opset
    if opset < OPSET:
        raise ValueError(f"opset is at least {OPSET}, what torch's exporter writes; got {opset}.")

    def write(program: torch.export.ExportedProgram, metadata: ModelMetadata, to: Path) -> Run:
        graph = _graph(program, opset)
        onnx.helper.set_model_props(graph, metadata.to_strings())
        onnx.checker.check_model(graph)
        onnx.save(graph, str(to))
        return OnnxClassifier(to, threads=1).logits

    made = write_verified(
        model, path, write, what="The ONNX file", suffix=".onnx", faces=faces, tolerance=tolerance
    )
    return replace(made, opset=opset)


def _graph(program: torch.export.ExportedProgram, opset: int) -> Any:
    """The ONNX graph of a program, without notes and inner shapes, its first dimension named."""
    written = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        opset_version=opset,
        input_names=[INPUT],
        output_names=[OUTPUT],
    )
    if written is None:
        raise ExportError("torch.onnx.export gave no graph.")
    model: Any = written.model_proto
    [found] = [one.version for one in model.opset_import if one.domain == ""]
    if found != opset:
        raise ExportError(f"torch's exporter wrote opset {found} instead of {opset}; take opset={found}.")
    graph = model.graph
    del graph.value_info[:]  # a runtime infers the inner shapes
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, graph):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model
