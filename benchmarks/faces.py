"""Measure face detection: images per second, memory, and the overhead over the underlying libraries.

    python benchmarks/faces.py --yunet FILE --yolo FILE --threads 1 --record FILE      # any machine
    python benchmarks/faces.py --detectors mtcnn yolo --yolo FILE --device cuda --batch-sizes 1 8 32
    python benchmarks/faces.py --detectors mtcnn --photos party.jpg --inputs array pil --seconds 30

`ours` is `create_detector(name).detect(photos)`; `direct` is the equivalent code without this library:
facenet-pytorch's `MTCNN(keep_all=True).detect(photos, landmarks=True)`, OpenCV's `FaceDetectorYN` on BGR
pixels, and for YOLO OpenCV's letterbox resize, `blobFromImages` and `InferenceSession.run`, without
decoding the output. Both receive the same photos in memory at full size (`max_side=None`: only YOLO's input
is shrunk), the same thresholds and the same number of threads. MTCNN also receives the photos of a batch
one by one.

Rounds are interleaved and alternate their order, so that the load of a shared machine affects all paths
alike. Times are medians per photo with their 10th and 90th percentiles. `overhead` is ours / direct - 1 and
`batch_speedup` one by one / together: medians of the rounds' ratios with the 95 % interval of the median
over 2,000 bootstrap samples (seed 0). `peak_mib` is the largest resident set of a fresh process during
detection, minus the resident set after a small first detection; `cuda_peak_mib` is the same for torch's GPU
memory (without ONNX Runtime's).
"""

from __future__ import annotations

import argparse
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
from cost_record import Detections, as_text, write_record
from cost_setup import environment_of
from machine_load import add_option, check_before, refuse_if_busy, watched_load
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fer_attention.device import resolve_device
from fer_attention.faces import create_detector, load_image

Photo: TypeAlias = Image.Image | NDArray[np.uint8]
Detect: TypeAlias = Callable[[Sequence[Photo]], Any]

LEAST_ROUNDS = 5
LIBRARIES = ("cv2", "numpy", "onnxruntime", "PIL")
SHOWN = ("detector", "size", "batch", "input", "rounds", "overhead", "batch_speedup")


@dataclass(frozen=True)
class Case:
    """One detector on one kind of batch; picklable."""

    detector: str
    weights: Path | None
    size: str
    batch: int
    kind: str
    device: str
    threads: int
    paths: tuple[Path, ...]

    def photos(self) -> list[Photo]:
        """Return the batch, each photo shifted sideways from the previous one."""
        photos = [photo(self.size, self.paths, index) for index in range(self.batch)]
        photos = [np.roll(pixels, 53 * index, axis=1) for index, pixels in enumerate(photos)]
        return [pixels if self.kind == "array" else Image.fromarray(pixels) for pixels in photos]

    def calls(self) -> tuple[dict[str, Detect], str]:
        """Return the calls to time, on the same number of threads, and the device of our detector."""
        torch.set_num_threads(self.threads)
        own: dict[str, Any] = {"batch_size": self.batch} if self.detector == "yolo" else {"max_side": None}
        if self.weights is not None:
            import cv2

            cv2.setNumThreads(self.threads)
            own["weights"] = self.weights
        ours = create_detector(self.detector, device=self.device, **own)
        device = str(getattr(ours, "device", self.device))
        direct = DIRECT[self.detector](self, device)
        calls: dict[str, Detect] = {"ours": ours.detect, "direct": direct}
        if self.detector == "mtcnn" and self.batch > 1:
            calls["ours_one_by_one"] = lambda photos: [ours.detect([photo]) for photo in photos]
            calls["direct_one_by_one"] = lambda photos: [direct([photo]) for photo in photos]
        return calls, device


def main() -> None:
    """Measure, print and optionally write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--detectors", nargs="+", default=list(DIRECT), choices=list(DIRECT))
    parser.add_argument("--yunet", type=Path, help="weights of YuNet")
    parser.add_argument("--yolo", type=Path, help="weights of a YOLO face model")
    parser.add_argument("--sizes", nargs="+", default=["640x480", "1280x960", "1920x1440"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 4, 8])
    parser.add_argument("--inputs", nargs="+", default=["array"], choices=["array", "pil"])
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=[], help="photos, cropped and resized to the sizes"
    )
    parser.add_argument("--rounds", type=int, default=100, help="maximum number of rounds per case")
    parser.add_argument(
        "--seconds", type=float, default=10, help=f"time limit per case, after {LEAST_ROUNDS} rounds"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--no-memory", action="store_true", help="skip the memory measurement, which needs Linux"
    )
    parser.add_argument("--record", type=Path)
    add_option(parser)
    options = parser.parse_args()
    device = resolve_device(options.device)
    torch.set_num_threads(options.threads)
    check_before(allow=options.allow_busy, record=options.record)
    results = []
    with watched_load() as load:
        for case in cases(options, device):
            result = measure(case, options.rounds, options.seconds)
            for path in () if options.no_memory else ("ours", "direct"):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                    result[path] |= fresh.submit(peak_memory, case, path).result()
            results.append(result)
            print({key: result[key] for key in SHOWN if key in result}, file=sys.stderr, flush=True)
    libraries = {name: sys.modules[name].__version__ for name in LIBRARIES if name in sys.modules}
    facts = {
        "photos": [path.name for path in options.photos] or "scikit-image's astronaut, tiled",
        "environment": environment_of(device, load, **libraries),
        "results": results,
    }
    record = Detections.model_validate(facts)
    print(as_text(record))
    refuse_if_busy(load, allow=options.allow_busy, record=options.record)
    if options.record:
        write_record(options.record, record)


def cases(options: argparse.Namespace, device: torch.device) -> list[Case]:
    """List the cases, and report detectors that are left out for lack of a weights file."""
    # OpenCV's wheels have no GPU support; "auto" lets YOLO fall back to the CPU, and the record says so.
    devices = {"mtcnn": str(device), "yunet": "cpu", "yolo": "cpu" if device.type == "cpu" else "auto"}
    found = []
    for name in options.detectors:
        weights: Path | None = getattr(options, name, None)
        if name != "mtcnn" and weights is None:
            print(f"{name} is left out: pass its weights file by --{name}.", file=sys.stderr)
            continue
        for kind, size, batch in product(options.inputs, options.sizes, options.batch_sizes):
            rest = devices[name], options.threads, tuple(options.photos)
            found.append(Case(name, weights, size, batch, kind, *rest))
    return found


def photo(size: str, paths: Sequence[Path], index: int) -> NDArray[np.uint8]:
    """Return one of the given photos, or the astronaut tiled at two thirds and one third of the height."""
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
    """Return a call of facenet-pytorch itself: with the photo, or with a list of several."""
    with warnings.catch_warnings():  # it edits the warning filters
        from facenet_pytorch import MTCNN

        network = MTCNN(keep_all=True, device=torch.device(device))
    return lambda photos: network.detect(photos[0] if len(photos) == 1 else list(photos), landmarks=True)


def yunet_direct(case: Case, device: str) -> Detect:
    """Return a call of OpenCV itself, which takes one photo at a time."""
    import cv2

    network = cv2.FaceDetectorYN.create(str(case.weights), "", (320, 320), 0.6, 0.3)

    def search(photo: Photo) -> Any:
        pixels = cv2.cvtColor(np.asarray(photo), cv2.COLOR_RGB2BGR)
        network.setInputSize(pixels.shape[1::-1])
        return network.detect(pixels)

    return lambda photos: [search(photo) for photo in photos]


def yolo_direct(case: Case, device: str) -> Detect:
    """Return a call of ONNX Runtime itself, in batches of the size that the model takes."""
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

    def letterboxed(photo: Photo) -> Any:
        pixels = np.asarray(photo)
        ratio = min(width / pixels.shape[1], height / pixels.shape[0])
        inner = round(pixels.shape[1] * ratio), round(pixels.shape[0] * ratio)
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        bars = top, height - inner[1] - top, left, width - inner[0] - left
        resized = cv2.resize(pixels, inner, interpolation=cv2.INTER_LINEAR)
        return cv2.copyMakeBorder(resized, *bars, cv2.BORDER_CONSTANT, value=(114, 114, 114))

    def detect(photos: Sequence[Photo]) -> Any:
        parts = [photos[start : start + count] for start in range(0, len(photos), count)]
        blobs = (cv2.dnn.blobFromImages(list(map(letterboxed, part)), 1 / 255) for part in parts)
        return [session.run(None, {taken.name: blob}) for blob in blobs]

    return detect


DIRECT = {"mtcnn": mtcnn_direct, "yunet": yunet_direct, "yolo": yolo_direct}


def measure(case: Case, most_rounds: int, seconds: float) -> dict[str, Any]:
    """Measure times and ratios of a case."""
    photos = case.photos()
    calls, device = case.calls()
    faces = sum(map(len, calls["ours"](photos))) / case.batch
    times = rounds({name: partial(call, photos) for name, call in calls.items()}, most_rounds, seconds)
    result: dict[str, Any] = {
        "detector": case.detector,
        "size": case.size,
        "batch": case.batch,
        "input": case.kind,
        "device": device,
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
    """Time each call in each round, in seconds, after a warm-up round."""
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
    """Wait for the GPU if one is in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def ratio(above: Sequence[float], below: Sequence[float], *, less: float = 0) -> dict[str, Any]:
    """Return the median of the rounds' ratios minus `less`, with its 95 % bootstrap interval."""
    ratios = np.divide(above, below) - less
    picks = np.random.default_rng(0).integers(0, len(ratios), (2000, len(ratios)))
    interval = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return {"median": round(float(np.median(ratios)), 4), "interval": interval.round(4).tolist()}


def peak_memory(case: Case, path: str) -> dict[str, float]:
    """Measure the additional peak memory of one path, in MiB, in a fresh process on Linux."""
    photos = case.photos()
    search = case.calls()[0][path]
    search([Image.new("RGB", (64, 64))])
    if cuda := torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        held_there = torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    held = resident("VmRSS")
    search(photos)
    peaks = {"peak_mib": round(resident("VmHWM") - held, 1)}
    if cuda:
        peaks["cuda_peak_mib"] = round((torch.cuda.max_memory_allocated() - held_there) / 2**20, 1)
    return peaks


def resident(kind: str) -> float:
    """Return the resident set of this process in MiB: current (VmRSS) or peak (VmHWM)."""
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(kind)]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
