"""`fer-attention export`."""

from __future__ import annotations

import tempfile
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_attention.cli.common import examples, say
from fer_attention.cli.datasets import DATA_HELP, DataFormat, Labels, OnError, read

if TYPE_CHECKING:
    from fer_attention.data import FaceDataset
    from fer_attention.models import FERModel

CALIBRATION = "train"
MEASURED = ("private", "test", "public", "validation")
SAMPLES = 512


class Kind(str, Enum):
    """Formats of exported files."""

    onnx = "onnx"
    program = "program"
    compiled = "compiled"


EXAMPLES = examples(
    "fer-attention export resnetv2_18_eca_elu.ferplus --output model.onnx",
    "fer-attention export my_run/best.safetensors --int8 --calibration fer2013.zip",
)


def export(
    weights: Annotated[str, typer.Argument(help="Bundled weights by name, or a weights file.")],
    kind: Annotated[
        Kind, typer.Option("--format", help="ONNX, a torch.export program, or an AOTInductor package.")
    ] = Kind.onnx,
    output: Annotated[Path | None, typer.Option(help="By default named after the weights.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="ONNX only: quantise and compare.")] = False,
    calibration: Annotated[Path | None, typer.Option(help=f"For --int8. {DATA_HELP}")] = None,
    data_format: DataFormat = "auto",
    labels: Labels = None,
    split: Annotated[
        str | None, typer.Option(help="Split to measure int8 on; by default private, else test.")
    ] = None,
    opset: Annotated[int | None, typer.Option(help="ONNX only: version of the operators.")] = None,
    on_error: OnError = "raise",
) -> None:
    """Write a model in a format that other programs run, verified against the model before it is written.

    With --int8, up to 512 faces of the split `train` set the scales (half of all faces if there is no such
    split), and the accuracy is measured on other faces before and after.
    """
    from fer_attention.models import load_weights
    from fer_attention.models.bundled import weights_path

    _check(kind, int8, calibration, opset)
    path = weights_path(weights)
    model = load_weights(path)
    suffix = (".int8.onnx" if int8 else ".onnx") if kind is Kind.onnx else ".pt2"
    target = output or Path(path.name.removesuffix(".safetensors") + suffix)
    if calibration is not None:
        crops = read(calibration, data_format, on_error, labels)
        summary = _int8(model, target, *_split_faces(crops, split), opset=opset)
    else:
        summary = _plain(model, target, kind, opset)
    say(f"{target}\n{summary}")


def _check(kind: Kind, int8: bool, calibration: Path | None, opset: int | None) -> None:
    if kind is not Kind.onnx and (int8 or opset is not None):
        raise ValueError(f"--int8 and --opset are for --format onnx, not for {kind.value}.")
    if int8 and calibration is None:
        raise ValueError("--int8 needs real faces to set its scales. Add --calibration DATA.")
    if calibration is not None and not int8:
        raise ValueError("--calibration is for --int8. Leave it out or add --int8.")


def _plain(model: FERModel, target: Path, kind: Kind, opset: int | None) -> str:
    from fer_attention.export import export_compiled, export_onnx, export_program

    if kind is Kind.onnx:
        made = export_onnx(model, target, opset=opset)
        form = f"ONNX, opset {made.opset}"
    else:
        made = (export_program if kind is Kind.program else export_compiled)(model, target)
        form = "AOTInductor package" if kind is Kind.compiled else "torch.export program"
    apart = f"logits differ from torch's by at most {made.difference:.1g} on {made.checked} crops"
    return f"{form}, {target.stat().st_size:,} bytes; {apart}"


def _int8(model: FERModel, target: Path, faces: FaceDataset, test: FaceDataset, *, opset: int | None) -> str:
    from fer_attention.export import export_onnx, quantize_onnx

    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "float32.onnx"
        export_onnx(model, whole, opset=opset)
        made = quantize_onnx(whole, target, calibration=faces, test=test, samples=SAMPLES)
    return f"int8 from float32, calibrated on {made.calibrated_on} faces\n{made}"


def _split_faces(crops: FaceDataset, split: str | None) -> tuple[FaceDataset, FaceDataset]:
    """Return faces for calibration, and others for measuring."""
    import numpy as np

    names = set(crops.splits.tolist())
    if split is None and CALIBRATION in names:
        split = next((name for name in MEASURED if name in names), None)
        if split is None:
            raise ValueError(f"Choose a split to measure on with --split: {', '.join(sorted(names))}.")
    if CALIBRATION in names and split is not None and split != CALIBRATION:
        return crops.split(CALIBRATION), crops.split(split)
    chosen = crops if split is None else crops.split(split)
    if len(chosen) < 2:
        raise ValueError(
            f"--int8 needs at least 2 faces, to calibrate on some and measure on others; got {len(chosen)}."
        )
    rows = np.random.default_rng(0).permutation(len(chosen))
    part = min(SAMPLES, len(chosen) // 2)
    return chosen.take(np.sort(rows[:part])), chosen.take(np.sort(rows[part:]))
