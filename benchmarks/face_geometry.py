"""Measure FER2013's alignment template, and the offsets between each detector's boxes and MTCNN's.

    python benchmarks/face_geometry.py --data fer2013.zip --yunet FILE --yolo FILE --record FILE

Detectors run on training frames of FER2013 that are enlarged four times and padded by repeating their border,
since they were trained on faces with surroundings, and on the given photos and videos. A face counts for the
boxes if both detectors found it (intersection over union above 0.5). All numbers are medians, with the 95 %
interval of the median over 1,000 bootstrap samples (seed 0).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from fer_attention.atomic import write_atomically
from fer_attention.data import load_data
from fer_attention.faces import Face, FaceDetector, create_detector, load_image
from fer_attention.video import VideoReader

ENLARGED, MARGIN = 192, 64


def main() -> None:
    """Measure, print and optionally write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--frames", type=int, default=4000, help="training frames, drawn with seed 0")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="photos and videos")
    parser.add_argument("--yunet", type=Path, help="weights of YuNet")
    parser.add_argument("--yolo", type=Path, help="weights of a YOLO face model")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    detectors: dict[str, FaceDetector] = {"mtcnn": create_detector("mtcnn", device="cpu")}
    for name in ("yunet", "yolo"):
        if (weights := getattr(options, name)) is not None:
            detectors[name] = create_detector(name, device="cpu", weights=weights)
    frames = enlarged(training_frames(options.data, options.frames))
    in_frames = detect_all(detectors, frames, options.frames)
    record: dict[str, Any] = {"frames": options.frames, "template": template(in_frames["mtcnn"])}
    in_photos = detect_all(detectors, pictures(options.photos), None) if options.photos else None
    for name in detectors:
        if name != "mtcnn":
            record[name] = {"fer2013": box_calibration(in_frames[name], in_frames["mtcnn"])}
            if in_photos is not None:
                record[name]["photos"] = box_calibration(in_photos[name], in_photos["mtcnn"])
    print(json.dumps(record, indent=1))
    if options.record:
        write_atomically(options.record, json.dumps(record, indent=1).encode() + b"\n")


def training_frames(path: Path, count: int) -> NDArray[np.uint8]:
    """Sample frames of FER2013's training split, uint8 (N, 48, 48)."""
    data = load_data(path)
    rows = np.flatnonzero(data.splits == "train")
    return data.images[np.random.default_rng(0).permutation(rows)[:count]]


def enlarged(frames: NDArray[np.uint8]) -> Iterator[Image.Image]:
    """Enlarge each frame to ENLARGED pixels and pad it by MARGIN pixels of its repeated border."""
    for frame in frames:
        large = Image.fromarray(frame).resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC)
        yield Image.fromarray(np.pad(np.asarray(large), MARGIN, mode="edge"))


def pictures(paths: list[Path]) -> Iterator[Image.Image]:
    """Yield photos, and every tenth frame of videos."""
    for path in paths:
        if path.suffix.lower() in (".mp4", ".avi", ".mov", ".mkv", ".webm"):
            with VideoReader(path) as frames:
                yield from (Image.fromarray(f.image) for f in frames if f.index % 10 == 0)
        else:
            yield load_image(path)


def detect_all(
    detectors: dict[str, FaceDetector], photos: Iterable[Image.Image], total: int | None
) -> dict[str, list[list[Face]]]:
    """Detect the faces of every photo with every detector."""
    found: dict[str, list[list[Face]]] = {name: [] for name in detectors}
    for photo in track(photos, "detecting", total=total):
        for name, detector in detectors.items():
            found[name] += detector.detect([photo])
    return found


def median(values: NDArray[np.float64]) -> list[float]:
    """Return the median and its 95 % bootstrap interval."""
    generator = np.random.default_rng(0)
    samples = [np.median(values[generator.integers(0, len(values), len(values))]) for _ in range(1000)]
    return [round(float(v), 4) for v in (np.median(values), *np.percentile(samples, (2.5, 97.5)))]


def template(found: list[list[Face]]) -> dict[str, Any]:
    """Return five landmarks, averaged with their mirror images, and the box as fractions of the frame."""
    faces = [faces[0] for faces in found if len(faces) == 1]
    points = (np.array([face.landmarks for face in faces]) - MARGIN) / ENLARGED
    mirrored = points[:, [1, 0, 2, 4, 3]] * (-1, 1) + (1, 0)
    middle = np.median(np.concatenate([points, mirrored]), axis=0)
    boxes = np.array([face.box for face in faces])
    return {
        "faces": len(faces),
        "landmarks": middle.round(4).tolist(),
        "box_width": median((boxes[:, 2] - boxes[:, 0]) / ENLARGED),
        "box_height": median((boxes[:, 3] - boxes[:, 1]) / ENLARGED),
        "box_centre_x": median(((boxes[:, 0] + boxes[:, 2]) / 2 - MARGIN) / ENLARGED),
        "box_centre_y": median(((boxes[:, 1] + boxes[:, 3]) / 2 - MARGIN) / ENLARGED),
    }


def box_calibration(found: list[list[Face]], reference: list[list[Face]]) -> dict[str, Any]:
    """Return size and offset of MTCNN's boxes relative to another detector's, as in `BoxCalibration`."""
    pairs = [
        (face, best)
        for faces, others in zip(found, reference, strict=True)
        for face in faces
        for best in sorted(others, key=face.iou)[-1:]
        if face.iou(best) > 0.5
    ]
    numbers = np.array(
        [
            (
                to.width / face.width,
                to.height / face.height,
                (to.centre[0] - face.centre[0]) / face.width,
                (to.centre[1] - face.centre[1]) / face.height,
            )
            for face, to in pairs
        ]
    )
    names = ("width", "height", "right", "down")
    return {
        "faces": [len(pairs), sum(map(len, found)), sum(map(len, reference))],
        **{name: median(column) for name, column in zip(names, numbers.T, strict=True)},
    }


if __name__ == "__main__":
    main()
