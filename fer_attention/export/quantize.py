"""Quantise ONNX files to int8, calibrated on real faces, and measure the result."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from fer_attention.atomic import replacing
from fer_attention.classifiers.base import Pixels
from fer_attention.classifiers.onnx_classifier import INPUT, OnnxClassifier
from fer_attention.data import FaceDataset
from fer_attention.evaluation import Accuracy, accuracy, match_labels, predict_crops
from fer_attention.export.graph import ExportError, Faces, check_suffix, images_of
from fer_attention.optional import needs_extra

OPERATORS = ("Conv", "Gemm", "MatMul")
"""Operators in int8, also in gates. Sums, products and activations stay in float32: int8 gains nothing."""

ROUNDS = 15


@dataclass(frozen=True)
class Quantization:
    """An int8 file compared with its float32 file; `print` shows a summary.

    >>> print(Quantization(Path("int8.onnx"), 512, 11_000_000, 2_900_000, 1.66, 0.77, 0.46))
    size      11,000,000 -> 2,900,000 bytes
    time      1.66 -> 0.77 ms a face on one thread, ratio 0.46

    Attributes:
        path: The int8 file.
        calibrated_on: Number of faces that set the scales.
        bytes_before: Size of the float32 file.
        bytes_after: Size of the int8 file.
        ms_before: Median milliseconds per face of the float32 file, one face at a time on one thread.
        ms_after: The same of the int8 file.
        time_ratio: Median over the rounds of int8 time over float32 time; above 1, int8 is slower.
        before: Accuracy of the float32 file on the test crops, if there are any.
        after: Accuracy of the int8 file on the same crops.
        different: Number of test crops that the two files classify differently.
    """

    path: Path
    calibrated_on: int
    bytes_before: int
    bytes_after: int
    ms_before: float
    ms_after: float
    time_ratio: float
    before: Accuracy | None = None
    after: Accuracy | None = None
    different: int | None = None

    def __str__(self) -> str:
        lines = [
            f"size      {self.bytes_before:,} -> {self.bytes_after:,} bytes",
            f"time      {self.ms_before:.2f} -> {self.ms_after:.2f} ms a face on one thread, "
            f"ratio {self.time_ratio:.2f}" + (" (slower)" if self.time_ratio > 1 else ""),
        ]
        if self.before and self.after:
            lines += [f"accuracy  {self.before} -> {self.after}", f"answers   {self.different} differ"]
        return "\n".join(lines)


def quantize_onnx(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    calibration: Faces,
    test: FaceDataset | None = None,
    samples: int = 512,
    reduce_range: bool = True,
    seed: int = 0,
) -> Quantization:
    """Quantise a file of `export_onnx` to int8, and compare size, time and accuracy.

    Convolutions and linear layers get int8 weights, with a scale per output channel, and uint8 inputs, scaled
    by the range seen on the calibration faces (quantise-dequantise nodes, "QDQ"). Input, output and metadata
    stay the same, so the new file replaces the old one.

    >>> print(quantize_onnx("model.onnx", "int8.onnx", calibration=faces))  # doctest: +SKIP

    Args:
        path: The float32 file.
        output: Path of the int8 file, ending in `.onnx`; the folder must exist.
        calibration: Real faces like those that the model will see, and not those it is measured on.
        test: Labelled faces to measure the accuracy on; None measures none.
        samples: Largest number of calibration faces, drawn at random.
        reduce_range: Use 7 bits for weights: processors without VNNI add pairs of products in 16 bits, which
            8-bit weights can overflow. Use False for files that run only on processors with VNNI, or Arm.
        seed: Seed of the draw.

    Raises:
        WeightsError: The file is missing or not from `export_onnx`.
        ExportError: The file is already quantised, or has no layer to quantise.
        ValueError: There is no calibration face, `samples` is below 1, or the suffix is another one.
        DataError: Test crops have labels that the model lacks.
        ImportError: onnx or onnxruntime is missing.
    """
    path, output = Path(path), Path(output)
    check_suffix(output, ".onnx")
    if samples < 1:
        raise ValueError(f"samples is at least 1, got {samples}.")
    if not len(calibration):
        raise ValueError("calibration has no face.")
    before = OnnxClassifier(path, threads=1)
    if "quantization" in before.metadata.record:
        raise ExportError(f"{path} is already quantised: {before.metadata.record['quantization']}.")
    images = images_of(calibration)
    rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:samples])
    crops = before.preprocessing.prepare(images[rows])
    with replacing(output) as temporary:
        _write(before, temporary, crops, reduce_range=reduce_range)
        after = OnnxClassifier(temporary, threads=1)
        ms_before, ms_after, ratio = _times(before, after, crops[:1])
        sizes = path.stat().st_size, temporary.stat().st_size
        measured = (None, None, None) if test is None else _accuracies(before, after, test)
    return Quantization(output, len(crops), *sizes, ms_before, ms_after, ratio, *measured)


def _write(before: OnnxClassifier, to: Path, crops: Pixels, *, reduce_range: bool) -> None:
    with needs_extra("export", "quantisation uses onnx and ONNX Runtime"):
        import onnx
        from onnxruntime import quantization as ort
        from onnxruntime.quantization.shape_inference import quant_pre_process

    inputs = ({INPUT: crops[start : start + 32]} for start in range(0, len(crops), 32))
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"  # batch norms folded into the convolutions before them
        quant_pre_process(str(before.path), str(folded), skip_symbolic_shape=True)
        ort.quantize_static(
            str(folded),
            str(to),
            SimpleNamespace(get_next=partial(next, inputs, None)),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            calibrate_method=ort.CalibrationMethod.MinMax,
            op_types_to_quantize=list(OPERATORS),
        )
    graph = onnx.load(str(to))
    if not any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        raise ExportError(f"{before.path} has no layer to quantise ({', '.join(OPERATORS)}).")
    bits = 7 if reduce_range else 8
    how = f"int8, static, QDQ, per channel, {bits}-bit weights, {len(crops)} faces"
    metadata = replace(before.metadata, record={**before.metadata.record, "quantization": how})
    onnx.helper.set_model_props(graph, metadata.to_strings())
    onnx.save(graph, str(to))


def _times(before: OnnxClassifier, after: OnnxClassifier, face: Pixels) -> tuple[float, float, float]:
    """Measure the median milliseconds of each and the median ratio, in interleaved rounds after a warm-up."""
    times: NDArray[np.float64] = np.zeros((ROUNDS + 1, 2))
    repeats = 1
    for number, row in enumerate(times):
        for column, model in enumerate((before, after)):
            start = time.perf_counter()
            for _ in range(repeats):
                model.logits(face)
            row[column] = (time.perf_counter() - start) * 1e3 / repeats
        if number == 0:
            repeats = max(1, int(10 / row.min()))  # a sample lasts about ten milliseconds
    first, second = np.median(times[1:], axis=0)
    return float(first), float(second), float(np.median(times[1:, 1] / times[1:, 0]))


def _accuracies(
    before: OnnxClassifier, after: OnnxClassifier, test: FaceDataset
) -> tuple[Accuracy, Accuracy, int]:
    chosen, _ = match_labels(test, before.labels)
    first, second = (predict_crops(model, chosen).argmax(axis=1) for model in (before, after))
    labels = chosen.labels
    return accuracy(first, labels), accuracy(second, labels), int((first != second).sum())
