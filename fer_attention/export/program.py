"""Export models as torch.export programs and as AOTInductor packages (both `.pt2`)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fer_attention.classifiers.base import Pixels
from fer_attention.export.graph import Export, ExportError, Faces, Logits, Run, write_verified
from fer_attention.models import FERModel, ModelMetadata

METADATA_FILE = "fer_attention.json"
"""Name of the metadata in a program; `torch.export.load(path, extra_files={METADATA_FILE: ""})` reads it."""

COMPILERS = ("g++", "clang++", "c++", "cl")


def export_program(
    model: FERModel, path: str | os.PathLike[str], *, faces: Faces | None = None, tolerance: float = 1e-4
) -> Export:
    """Write a model as a torch.export program, verified against the model.

    `torch.export.load(path).module()` runs it without this library: uint8 crops (N, C, H, W), for any N, to
    logits (N, classes). The metadata of weights files is stored in it as `fer_attention.json`.

    >>> export_program(model, "model.pt2").checked  # doctest: +SKIP
    5

    Args:
        model: A model with labels and preprocessing; it is not changed.
        path: Path of the file, ending in `.pt2`; the folder must exist.
        faces: Crops to compare file and model on, besides noise and the package's own face.
        tolerance: Largest allowed difference of logits, relative to the largest logit if that is above 1.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ExportError: The model cannot be exported, or the file differs from it. No file is written then.
        ValueError: The suffix is another one, or the tolerance is out of range.
        FileNotFoundError: The folder does not exist.
    """

    def write(program: torch.export.ExportedProgram, metadata: ModelMetadata, to: Path) -> Run:
        torch.export.save(program, str(to), extra_files={METADATA_FILE: json.dumps(metadata.to_strings())})
        return _runner(torch.export.load(str(to)).module())

    return write_verified(
        model, path, write, what="The program", suffix=".pt2", faces=faces, tolerance=tolerance
    )


def export_compiled(
    model: FERModel, path: str | os.PathLike[str], *, faces: Faces | None = None, tolerance: float = 1e-4
) -> Export:
    """Compile a model to an AOTInductor package: machine code for this processor type and version of torch.

    `torch._inductor.aoti_load_package(path)` returns a function of uint8 crops (N, C, H, W); C++ programs
    load the package without Python. Its `get_metadata()` includes the metadata of weights files.

    >>> export_compiled(model, "compiled.pt2").checked  # doctest: +SKIP
    5

    Args:
        model: As in `export_program`.
        path: As in `export_program`.
        faces: As in `export_program`.
        tolerance: As in `export_program`.

    Raises:
        ExportError: There is no C++ compiler, or as in `export_program`.
    """
    if not os.environ.get("CXX") and not any(map(shutil.which, COMPILERS)):
        raise ExportError(
            f"AOTInductor needs a C++ compiler, but none of {', '.join(COMPILERS)} was found. Install one or "
            "name it in the environment variable CXX; export_program() and export_onnx() need none."
        )

    def write(program: torch.export.ExportedProgram, metadata: ModelMetadata, to: Path) -> Run:
        options = {"aot_inductor.metadata": metadata.to_strings()}
        torch._inductor.aoti_compile_and_package(program, package_path=str(to), inductor_configs=options)
        return _runner(torch._inductor.aoti_load_package(str(to)))

    return write_verified(
        model, path, write, what="The compiled package", suffix=".pt2", faces=faces, tolerance=tolerance
    )


def _runner(module: Callable[..., Any]) -> Run:
    @torch.no_grad()  # compiled packages do not take tensors of inference mode
    def run(batch: Pixels) -> Logits:
        return module(torch.from_numpy(batch)).numpy()

    return run
