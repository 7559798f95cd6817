"""Export models as ONNX files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_attention.classifiers.onnx_classifier import INPUT, OUTPUT, OnnxClassifier
from fer_attention.export.graph import Export, ExportError, Faces, Run, write_verified
from fer_attention.models import FERModel, ModelMetadata
from fer_attention.optional import needs_extra

OPSET = 18
"""Version of ONNX's operators that torch's exporter writes without conversion; needs ONNX Runtime 1.14."""

PREFIX = "elu_"
"""Start of the names of values that are added to a graph."""


def export_onnx(
    model: FERModel,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    faces: Faces | None = None,
    tolerance: float = 1e-4,
) -> Export:
    """Write a model to an ONNX file with its labels and preprocessing, verified against the model.

    The graph has one input `crops`, uint8 (N, C, H, W) for any N, and one output `logits`, float32
    (N, classes). The metadata is that of weights files; its record also holds the version of this library.

    >>> made = export_onnx(model, "model.onnx")  # doctest: +SKIP
    >>> made.difference < 1e-4  # doctest: +SKIP
    True

    Args:
        model: A model with labels and preprocessing; it is not changed.
        path: Path of the file, ending in `.onnx`; the folder must exist.
        opset: Version of ONNX's operators, from 18 to the newest of the installed onnx; None takes 18.
        faces: Crops to compare file and model on, besides noise and the package's own face.
        tolerance: Largest allowed difference of logits, relative to the largest logit if that is above 1.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ExportError: The model cannot be exported, or the file differs from it. No file is written then.
        ValueError: The suffix is another one, or opset or tolerance is out of range.
        ImportError: onnx, onnxscript or onnxruntime is missing.
        FileNotFoundError: The folder does not exist.
    """
    with needs_extra("export", "ONNX files are written by onnx and onnxscript, and checked by ONNX Runtime"):
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    opset = OPSET if opset is None else opset
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise ValueError(f"opset is from {OPSET} to {newest} with the installed onnx; got {opset}.")

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
    """Convert a program to an ONNX graph with a named batch dimension, without comments and inner shapes."""
    written = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        opset_version=opset,
        input_names=[INPUT],
        output_names=[OUTPUT],
    )
    if written is None:
        raise ExportError("torch.onnx.export returned no graph.")
    model: Any = written.model_proto
    [found] = [one.version for one in model.opset_import if one.domain == ""]
    if found != opset:
        raise ExportError(f"torch's exporter wrote opset {found} instead of {opset}; use opset={found}.")
    graph = model.graph
    del graph.value_info[:]  # a runtime infers the inner shapes
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, graph):
        del part.metadata_props[:]
        part.doc_string = ""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    _expand_elu(graph)
    return model


def _expand_elu(graph: Any) -> None:
    """Replace each ELU of alpha 1 by max(x, exp(min(x, 0)) - 1).

    ONNX Runtime has vectorised kernels for these operators and not for ELU. On one thread they took 0.85 to
    0.90 of the time of the bundled model with ELU operators, and a model with ReLU 0.77 to 0.81.
    """
    from onnx import helper, numpy_helper

    zero, one = f"{PREFIX}zero", f"{PREFIX}one"
    nodes = []
    for node in graph.node:
        if node.op_type != "Elu" or any(attribute.f != 1 for attribute in node.attribute):
            nodes.append(node)
            continue
        [x], [y] = node.input, node.output
        below, power, low = (f"{PREFIX}{y}_{part}" for part in ("below", "power", "low"))
        nodes += [
            helper.make_node("Min", [x, zero], [below]),
            helper.make_node("Exp", [below], [power]),
            helper.make_node("Sub", [power, one], [low]),
            helper.make_node("Max", [x, low], [y]),
        ]
    if len(nodes) == len(graph.node):
        return
    del graph.node[:]
    graph.node.extend(nodes)
    for name, value in ((zero, 0), (one, 1)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
