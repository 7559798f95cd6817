"""Compare the sharpness of faces cropped from photos, by resampling filter, with FER2013's frames.

    python benchmarks/crop_spectrum.py --data fer2013.zip --photos PHOTO … CLIP … --record FILE

Measures the share of each 48×48 face's variance in the upper half of the spectrum (at least a quarter of a
cycle per pixel along either axis), under a Hann window. Faces are detected by MTCNN and at least 60 pixels
high; every tenth frame of a video and every tenth training image of FER2013 is used.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from face_geometry import pictures
from numpy.typing import NDArray

from fer_attention.atomic import write_atomically
from fer_attention.data import load_data
from fer_attention.faces import CropRule, create_detector, cut_face
from fer_attention.faces.crop import Interpolation
from fer_attention.training.setup import environment

SIDE = 48
LEAST_HEIGHT = 60
FILTERS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "lanczos")


def main() -> None:
    """Measure, print and optionally write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="photos and videos with faces")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    detector = create_detector("mtcnn", device="cpu")
    crops: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in FILTERS}
    for photo in pictures(options.photos):
        [faces] = detector.detect([photo])
        for face in faces:
            if face.box[3] - face.box[1] < LEAST_HEIGHT:
                continue
            for name in FILTERS:
                cut, _ = cut_face(
                    photo, face, CropRule(), detector=detector, size=(SIDE, SIDE), interpolation=name
                )
                crops[name].append(np.asarray(cut.convert("L")))
    frames = load_data(options.data).split("train").images[::10]
    frames = frames[frames.std(axis=(1, 2)) > 1]  # without blank images
    results = {"fer2013": spectrum(frames)}
    results |= {name: spectrum(np.stack(found)) for name, found in crops.items()}
    record = {
        "pictures": len(options.photos),
        "environment": environment(torch.device("cpu"), 1),
        "upper_half_share": results,
    }
    print(json.dumps(record, indent=1))
    if options.record:
        write_atomically(options.record, json.dumps(record, indent=1).encode() + b"\n")


def spectrum(images: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the quartiles of the share in the upper half over images (N, 48, 48)."""
    pixels = images.astype(float) - images.mean(axis=(1, 2), keepdims=True)
    window = np.hanning(SIDE)
    power = np.abs(np.fft.fft2(pixels * window[:, None] * window)) ** 2
    frequency = np.abs(np.fft.fftfreq(SIDE))
    upper = np.maximum(frequency[:, None], frequency) >= 0.25  # noqa: PLR2004
    shares = (power * upper).sum((1, 2)) / power.sum((1, 2))
    q25, median, q75 = np.percentile(shares, [25, 50, 75])
    return {"faces": len(images), "median": round(median, 4), "q25": round(q25, 4), "q75": round(q75, 4)}


if __name__ == "__main__":
    main()
