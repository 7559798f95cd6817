"""What face detection costs: images per second, memory, and our detectors against those inside them.

    python benchmarks/faces.py --yunet FILE --yolo FILE --threads 1 --record FILE      # any machine
    python benchmarks/faces.py --detectors mtcnn yolo --yolo FILE --device cuda --batch-sizes 1 8 32
    python benchmarks/faces.py --detectors mtcnn --photos party.jpg --inputs array pil --seconds 30

`ours` is `create_detector(name).detect(photos)`; `direct` is what one would write without this library:
facenet-pytorch's `MTCNN(keep_all=True).detect(photos, landmarks=True)`, OpenCV's `FaceDetectorYN` on BGR
pixels, and for YOLO OpenCV's resize between grey bars, `blobFromImages` and `InferenceSession.run`, without
decoding what comes out. Both get the same photos in memory, whole (`max_side=None`: only YOLO's input is
shrunk), the same thresholds and threads. MTCNN gets the photos of a batch one by one as well.

Rounds are interleaved and begin with another path each, so that a shared machine's moods fall on all alike.
Times are medians per photo with their 10th and 90th percentiles. `overhead` is ours / direct - 1 and
`batch_speedup` one by one / together: medians of the rounds' ratios with the 95 % interval of the median
over 2,000 bootstrap samples (seed 0). `peak_mib` is the largest resident set while a fresh process searches
the batch, above what it held after a first small search; `cuda_peak_mib` is the same of torch's memory on the
GPU (ONNX Runtime's is not in it).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fer_attention.atomic import write_atomically
from fer_attention.device import resolve_device
from fer_attention.faces import create_detector, load_image
from fer_attention.training.setup import environment

Photo: TypeAlias = Image.Image | NDArray[np.uint8]
Detect: TypeAlias = Callable[[Sequence[Photo]], Any]

LEAST_ROUNDS = 5
LIBRARIES = ("cv2", "numpy", "onnxruntime", "PIL")
SHOWN = ("detector", "size", "batch", "input", "rounds", "overhead", "batch_speedup")


@dataclass(frozen=True)
class Case:
    """One detector on one kind of batch; it can be sent to another process."""

    detector: str
    weights: Path | None
    size: str
    batch: int
    kind: str
    device: str
    threads: int
    paths: tuple[Path, ...]

    def photos(self) -> list[Photo]:
        """The batch, each photo shifted sideways against the one before."""
        made = [photo(self.size, self.paths, index) for index in range(self.batch)]
        made = [np.roll(pixels, 53 * index, axis=1) for index, pixels in enumerate(made)]
        return [pixels if self.kind == "array" else Image.fromarray(pixels) for pixels in made]

    def ways(self) -> tuple[dict[str, Detect], str]:
        """The ways to the faces of a batch, all on the same number of threads, and where ours runs."""
        torch.set_num_threads(self.threads)
        own: dict[str, Any] = {"batch_size": self.batch} if self.detector == "yolo" else {"max_side": None}
        if self.weights is not None:
            import cv2

            cv2.setNumThreads(self.threads)
            own["weights"] = self.weights
        ours = create_detector(self.detector, device=self.device, **own)
        place = str(getattr(ours, "device", self.device))
        direct = DIRECT[self.detector](self, place)
        ways: dict[str, Detect] = {"ours": ours.detect, "direct": direct}
        if self.detector == "mtcnn" and self.batch > 1:
            ways["ours_one_by_one"] = lambda photos: [ours.detect([photo]) for photo in photos]
            ways["direct_one_by_one"] = lambda photos: [direct([photo]) for photo in photos]
        return ways, place


def main() -> None:
    """Measure, print, and keep a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--detectors", nargs="+", default=list(DIRECT), choices=list(DIRECT))
    parser.add_argument("--yunet", type=Path, help="weights of YuNet")
    parser.add_argument("--yolo", type=Path, help="weights of a YOLO face model")
    parser.add_argument("--sizes", nargs="+", default=["640x480", "1280x960", "1920x1440"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 4, 8])
    parser.add_argument("--inputs", nargs="+", default=["array"], choices=["array", "pil"])
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="cut and resized to the sizes")
    parser.add_argument("--rounds", type=int, default=100, help="of a case, at most")
    parser.add_argument("--seconds", type=float, default=10, help=f"of a case, after {LEAST_ROUNDS} rounds")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-memory", action="store_true", help="times only; memory is read on Linux")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    torch.set_num_threads(options.threads)
    results = []
    for case in cases(options, device):
        result = measured(case, options.rounds, options.seconds)
        for path in () if options.no_memory else ("ours", "direct"):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                result[path] |= fresh.submit(peak_memory, case, path).result()
        results.append(result)
        print({key: result[key] for key in SHOWN if key in result}, file=sys.stderr, flush=True)
    libraries = {name: sys.modules[name].__version__ for name in LIBRARIES if name in sys.modules}
    record = {
        "photos": [path.name for path in options.photos] or "scikit-image's astronaut, tiled",
        "environment": environment(device, 1) | libraries,
        "results": results,
    }
    print(json.dumps(record, indent=1))
    if options.record:
        write_atomically(options.record, json.dumps(record, indent=1).encode() + b"\n")


def cases(options: argparse.Namespace, device: torch.device) -> list[Case]:
    """Everything to measure; a detector without its file is left out, with a line."""
    # OpenCV's wheels have no GPU support; "auto" lets YOLO fall back to the CPU, and the record says so.
    places = {"mtcnn": str(device), "yunet": "cpu", "yolo": "cpu" if device.type == "cpu" else "auto"}
    found = []
    for name in options.detectors:
        weights: Path | None = getattr(options, name, None)
        if name != "mtcnn" and weights is None:
            print(f"{name} is left out: --{name} names its weights.", file=sys.stderr)
            continue
        for kind, size, batch in product(options.inputs, options.sizes, options.batch_sizes):
            rest = places[name], options.threads, tuple(options.photos)
            found.append(Case(name, weights, size, batch, kind, *rest))
    return found


def photo(size: str, paths: Sequence[Path], index: int) -> NDArray[np.uint8]:
    """One of the user's photos, or the astronaut, tiled at two thirds and one third of the height."""
    width, height = map(int, size.split("x"))
    if paths:
        return np.asarray(ImageOps.fit(load_image(paths[index % len(paths)]), (width, height)))
    from skimage.data import astronaut

    rows = []
    for side in (2 * height // 3, height - 2 * height // 3):
        tile = np.asarray(Image.fromarray(astronaut()).resize((side, side)))
        rows.append(np.tile(tile, (1, -(-width // side), 1))[:, :width])
    return np.concatenate(rows)


def mtcnn_direct(case: Case, device: str) -> Detect:
    """facenet-pytorch itself: a lone photo as such, several as a list."""
    with warnings.catch_warnings():  # it edits the warning filters
        from facenet_pytorch import MTCNN

        network = MTCNN(keep_all=True, device=torch.device(device))
    return lambda photos: network.detect(photos[0] if len(photos) == 1 else list(photos), landmarks=True)


def yunet_direct(case: Case, device: str) -> Detect:
    """OpenCV itself, one photo after the other."""
    import cv2

    network = cv2.FaceDetectorYN.create(str(case.weights), "", (320, 320), 0.6, 0.3)

    def search(photo: Photo) -> Any:
        pixels = cv2.cvtColor(np.asarray(photo), cv2.COLOR_RGB2BGR)
        network.setInputSize(pixels.shape[1::-1])
        return network.detect(pixels)

    return lambda photos: [search(photo) for photo in photos]


def yolo_direct(case: Case, device: str) -> Detect:
    """ONNX Runtime itself, by the batch that the model takes."""
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    providers = ["CUDAExecutionProvider"] * device.startswith("cuda") + ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(case.weights), options, providers=providers)
    taken, usual = session.get_inputs()[0], (case.batch, 3, 640, 640)
    count, _, height, width = (
        side if isinstance(side, int) else other for side, other in zip(taken.shape, usual, strict=True)
    )

    def entered(photo: Photo) -> Any:
        pixels = np.asarray(photo)
        ratio = min(width / pixels.shape[1], height / pixels.shape[0])
        inner = round(pixels.shape[1] * ratio), round(pixels.shape[0] * ratio)
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        bars = top, height - inner[1] - top, left, width - inner[0] - left
        resized = cv2.resize(pixels, inner, interpolation=cv2.INTER_LINEAR)
        return cv2.copyMakeBorder(resized, *bars, cv2.BORDER_CONSTANT, value=(114, 114, 114))

    def detect(photos: Sequence[Photo]) -> Any:
        parts = [photos[start : start + count] for start in range(0, len(photos), count)]
        blobs = (cv2.dnn.blobFromImages(list(map(entered, part)), 1 / 255) for part in parts)
        return [session.run(None, {taken.name: blob}) for blob in blobs]

    return detect


DIRECT = {"mtcnn": mtcnn_direct, "yunet": yunet_direct, "yolo": yolo_direct}


def measured(case: Case, most_rounds: int, seconds: float) -> dict[str, Any]:
    """Times and ratios of a case."""
    photos = case.photos()
    ways, place = case.ways()
    faces = sum(map(len, ways["ours"](photos))) / case.batch
    times = rounds({name: partial(way, photos) for name, way in ways.items()}, most_rounds, seconds)
    result: dict[str, Any] = {
        "detector": case.detector,
        "size": case.size,
        "batch": case.batch,
        "input": case.kind,
        "device": place,
        "faces_per_photo": round(faces, 2),
        "rounds": len(times["ours"]),
    }
    for name, values in times.items():
        low, ms, high = (np.percentile(values, [10, 50, 90]) * 1e3 / case.batch).round(2).tolist()
        rate = round(1e3 / ms, 2)
        result[name] = {"images_per_second": rate, "ms_per_image": ms, "ms_p10_p90": [low, high]}
    result["overhead"] = ratio(times["ours"], times["direct"], less=1)
    if "ours_one_by_one" in times:
        result["overhead_one_by_one"] = ratio(times["ours_one_by_one"], times["direct_one_by_one"], less=1)
        result["batch_speedup"] = ratio(times["ours_one_by_one"], times["ours"])
        result["direct_batch_speedup"] = ratio(times["direct_one_by_one"], times["direct"])
    return result


def rounds(calls: dict[str, Callable[[], Any]], most: int, seconds: float) -> dict[str, list[float]]:
    """Seconds of each call in each round; a first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    for turn in range(most + 1):
        if turn > LEAST_ROUNDS and time.perf_counter() - began > seconds:
            break
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            synchronize()
            started = time.perf_counter()
            calls[name]()
            synchronize()
            if turn:
                times[name].append(time.perf_counter() - started)
    return times


def synchronize() -> None:
    """Waits for the GPU, if one is in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def ratio(above: Sequence[float], below: Sequence[float], *, less: float = 0) -> dict[str, Any]:
    """Median of the rounds' ratios, less a number, with its bootstrapped 95 % interval."""
    ratios = np.divide(above, below) - less
    picks = np.random.default_rng(0).integers(0, len(ratios), (2000, len(ratios)))
    interval = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return {"median": round(float(np.median(ratios)), 4), "interval": interval.round(4).tolist()}


def peak_memory(case: Case, path: str) -> dict[str, float]:
    """MiB that one way needs for a batch, above what was held before; meant for a fresh process on Linux."""
    photos = case.photos()
    search = case.ways()[0][path]
    search([Image.new("RGB", (64, 64))])
    if cuda := torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        held_there = torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    held = resident("VmRSS")
    search(photos)
    peaks = {"peak_mib": round(resident("VmHWM") - held, 1)}
    if cuda:
        peaks["cuda_peak_mib"] = round((torch.cuda.max_memory_allocated() - held_there) / 2**20, 1)
    return peaks


def resident(kind: str) -> float:
    """The resident set of this process in MiB, now (VmRSS) or at most (VmHWM)."""
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(kind)]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
