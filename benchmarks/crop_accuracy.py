"""Measure the accuracy lost by detecting, cropping and aligning faces instead of using whole frames.

    python benchmarks/crop_accuracy.py --data fer2013.zip --yunet FILE --yolo FILE --record FILE

The bundled model classifies PublicTest frames: once as they are, and once from the crop of each detector
and crop rule. For the detectors the frames are enlarged four times and padded by repeating their border.
Accuracies cover the frames in which a detector finds exactly one face, with Wilson intervals;
`against_whole` is the difference from the whole frames on the same images, with the 95 % interval over
2,000 bootstrap samples (seed 0). Squares are also resampled with other filters; `against_bilinear` is the
difference from bilinear.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from face_geometry import enlarged
from numpy.typing import NDArray
from rich.progress import track

from fer_attention.atomic import write_atomically
from fer_attention.data import load_data
from fer_attention.evaluation import match_labels, wilson_interval
from fer_attention.faces import CropRule, FaceDetector, create_detector, cut_face
from fer_attention.faces.crop import Interpolation
from fer_attention.inference import predict_logits
from fer_attention.models import load_weights
from fer_attention.models.bundled import DEFAULT, weights_path
from fer_attention.training.setup import environment

FILTERS: tuple[Interpolation, ...] = ("bicubic", "lanczos")  # beside the bilinear one
RULES = {"square": CropRule(border="pad"), "box": CropRule(shape="box"), "aligned": CropRule(shape="aligned")}


def main() -> None:
    """Measure, print and optionally write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--weights", default=DEFAULT, help="name of bundled weights, or a weights file")
    parser.add_argument("--frames", type=int, default=1500, help="PublicTest frames, drawn with seed 0")
    parser.add_argument("--yunet", type=Path, help="weights of YuNet")
    parser.add_argument("--yolo", type=Path, help="weights of a YOLO face model")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    detectors: dict[str, FaceDetector] = {"mtcnn": create_detector("mtcnn", device="cpu")}
    for name in ("yunet", "yolo"):
        if (weights := getattr(options, name)) is not None:
            detectors[name] = create_detector(name, device="cpu", weights=weights)
    data = load_data(options.data)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(data.splits == "public"))[: options.frames]
    model = load_weights(weights_path(options.weights)).eval()
    chosen, _ = match_labels(data.take(rows), model.labels or ())
    images, labels = chosen.images[:], chosen.labels
    right = {"whole": predict_classes(model, model.preprocessing.prepare(images)) == labels}
    crops: dict[str, dict[int, torch.Tensor]] = {}
    for index, photo in enumerate(track(enlarged(images), "cutting", total=len(images))):
        for name, detector in detectors.items():
            [faces] = detector.detect([photo.convert("RGB")])
            for rule_name, rule in RULES.items() if len(faces) == 1 else ():
                for filter_name in ("bilinear", *(FILTERS if rule_name == "square" else ())):
                    cut, _ = cut_face(
                        photo,
                        faces[0],
                        rule,
                        detector=detector,
                        size=model.preprocessing.size,
                        interpolation=filter_name,
                    )
                    suffix = "" if filter_name == "bilinear" else f" {filter_name}"
                    pixels = torch.from_numpy(np.array(cut))[None]
                    crops.setdefault(f"{name} {rule_name}{suffix}", {})[index] = pixels
    results: dict[str, Any] = {"whole": accuracy(right["whole"])}
    for name, found in crops.items():
        positions = np.array(list(found))
        right[name] = predict_classes(model, torch.stack(list(found.values()))) == labels[positions]
        results[name] = accuracy(right[name])
        results[name]["against_whole"] = difference(right[name], right["whole"][positions])
        usual, _, filter_name = name.rpartition(" ")
        if filter_name in FILTERS:
            results[name]["against_bilinear"] = difference(right[name], right[usual])
    record = {
        "weights": Path(options.weights).name,
        "frames": len(rows),
        "environment": environment(torch.device("cpu"), 1),
        "results": results,
    }
    print(json.dumps(record, indent=1))
    if options.record:
        write_atomically(options.record, json.dumps(record, indent=1).encode() + b"\n")


def predict_classes(model: Any, crops: torch.Tensor) -> NDArray[np.int64]:
    """Return the most probable class of each crop."""
    logits = predict_logits(model, model.preprocessing.normalize(crops))
    return logits.argmax(1).numpy()


def accuracy(hits: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the accuracy with its Wilson interval."""
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return {
        "n": len(hits),
        "accuracy": round(float(hits.mean()), 4),
        "interval": [round(low, 4), round(high, 4)],
    }


def difference(hits: NDArray[np.bool_], others: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the mean difference in percentage points on the same frames, with its bootstrap interval."""
    points = 100 * (hits.astype(float) - others)
    picks = np.random.default_rng(0).integers(0, len(points), (2000, len(points)))
    interval = np.percentile(points[picks].mean(axis=1), [2.5, 97.5])
    return {"points": round(float(points.mean()), 2), "interval": interval.round(2).tolist()}


if __name__ == "__main__":
    main()
