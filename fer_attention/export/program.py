"""Models as torch.export programs and as AOTInductor packages (both `.pt2`)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fer_attention.classifiers.base import Pixels
from fer_attention.export.check import ExportError, Faces, Logits
from fer_attention.export.graph import Export, Run, write_verified
from fer_attention.models import FERModel, ModelMetadata

METADATA_FILE = "fer_attention.json"
"""File of the metadata in a program; `torch.export.load(path, extra_files={METADATA_FILE: ""})` reads it."""

COMPILERS = ("g++", "clang++", "c++", "cl")


def export_program(
    model: FERModel, path: str | os.PathLike[str], *, faces: Faces | None = None, tolerance: float = 1e-4
) -> Export:
    """Write a model as a torch.export program, which `torch.export.load(path).module()` runs.

    That needs no line of this library. It takes uint8 crops (N, C, H, W) for any N and gives logits
    (N, classes). The metadata of weights files lies in it as `fer_attention.json`.

    Args:
        model: A model with labels and preprocessing; it stays as it is.
        path: Where to, ending in `.pt2`; the folder must exist.
        faces: Crops to compare file and model on, beside noise and one face that is always there.
        tolerance: The largest difference of logits, relative to the largest logit where that is above 1.

    Raises:
        WeightsError: The model lacks labels, preprocessing or weights.
        ExportError: The model cannot be exported, or the file differs from it; no file is left then.
        ValueError: Another suffix, or a tolerance that cannot be.
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
    """Compile a model to an AOTInductor package: machine code for this kind of processor and this torch.

    `torch._inductor.aoti_load_package(path)` gives a function of uint8 crops (N, C, H, W); C++ programs load
    the package without Python. Its `get_metadata()` holds the metadata of weights files among torch's own.
    The arguments are those of `export_program`.

    Raises:
        ExportError: There is no C++ compiler, or as in `export_program`.
    """
    if not os.environ.get("CXX") and not any(map(shutil.which, COMPILERS)):
        raise ExportError(
            f"AOTInductor needs a C++ compiler, and there is none of {', '.join(COMPILERS)}. Install one or "
            "name it in the variable CXX; export_program() and export_onnx() need none."
        )

    def write(program: torch.export.ExportedProgram, metadata: ModelMetadata, to: Path) -> Run:
        options = {"aot_inductor.metadata": metadata.to_strings()}
        torch._inductor.aoti_compile_and_package(program, package_path=str(to), inductor_configs=options)
        return _runner(torch._inductor.aoti_load_package(str(to)))

    return write_verified(
        model, path, write, what="The compiled package", suffix=".pt2", faces=faces, tolerance=tolerance
    )


def _runner(module: Callable[..., Any]) -> Run:
    @torch.no_grad()  # a package of machine code does not take inference mode's tensors
    def run(batch: Pixels) -> Logits:
        return module(torch.from_numpy(batch)).numpy()

    return run
