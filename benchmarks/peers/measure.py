"""Measure expression recognisers in one harness: FER2013's PrivateTest, FER+'s votes and FER2013-C.

    python benchmarks/peers/measure.py BUNDLED_MODEL --data fer2013.zip --votes ferplus_votes.csv
    python benchmarks/peers/measure.py PEER=ENVIRONMENT --data fer2013.zip --votes ferplus_votes.csv \
        [--sample 1200]
    python benchmarks/peers/measure.py BUNDLED_MODEL PEER=ENVIRONMENT ... --speed --data fer2013.zip
    python benchmarks/peers/measure.py render

A peer runs in an environment of its own, as `workers/PEER_worker.py` or `.cjs`: it gets grey crops of 48×48
pixels and answers with probabilities, so that all recognisers see the same pixels. ENVIRONMENT is the folder
of a Python environment or of an npm project. A bundled model is exported to ONNX first. Each writes
`benchmarks/records/peers/NAME.json`; `--speed` writes `benchmarks/records/peer_speed.json`; `render` writes
`docs/corruptions.md` and its figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from jinja2 import FileSystemLoader
from numpy.typing import NDArray

from fer_attention.atomic import write_atomically
from fer_attention.calibration import Calibration
from fer_attention.classifiers import Classifier, OnnxClassifier
from fer_attention.classifiers.base import Pixels
from fer_attention.data import FaceDataset, load_fer2013, with_votes
from fer_attention.evaluation import ALL, CORRUPTIONS, NEW, evaluate, evaluate_corruptions, library_versions
from fer_attention.evaluation.crowd import CLEAR
from fer_attention.evaluation.doubt import LABELS
from fer_attention.export import export_onnx
from fer_attention.models import bundled_names, bundled_path, load_weights
from fer_attention.preprocessing import Preprocessing
from fer_attention.rendering.figures import INK, new_figure, plain, svg_file, svg_of
from fer_attention.rendering.page import markdown_templates

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RECORDS = ROOT / "benchmarks" / "records" / "peers"
SPEED = RECORDS.parent / "peer_speed.json"
SEED = 2026
ROUNDS, FACES = 5, 200
"""Rounds of a comparison of speed, and faces in each, one at a time."""
COLOURS = ("#2458b8", "#6fa3e8", "#5bb8b0", "#d1661a", "#3a8a4d", "#8a4da8")


class Peer:
    """A recogniser in another process.

    Attributes:
        labels: Its emotions.
        preprocessing: Grey crops of 48×48 pixels; what its network needs, it does itself.
        versions: Its libraries.
        calibration: None is known, so it is taken at face value.

    Args:
        name: The worker is `workers/NAME_worker.py`, or `.cjs` for Node.js.
        environment: Folder of its Python environment or its npm project.
    """

    def __init__(self, name: str, environment: Path) -> None:
        worker = HERE / "workers" / f"{name}_worker"
        python, script = worker.with_suffix(".py"), worker.with_suffix(".cjs")
        if python.is_file():
            command = [str(environment / "bin" / "python"), str(python)]
        elif script.is_file():
            command = ["node", str(script), str(environment.resolve())]
        else:
            raise SystemExit(f"{name} is not a bundled model, and there is no {python} or {script.name}.")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        facts = json.loads(self._read_line())
        self.labels: tuple[str, ...] = tuple(facts["labels"])
        self.versions: dict[str, str] = facts["versions"]
        self.preprocessing = Preprocessing()
        self.calibration = Calibration()

    def _read_line(self) -> bytes:
        assert self._process.stdout is not None  # noqa: S101  (for the type checker)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The worker ended with code {self._process.wait()}; its messages are above.")
        return line

    def probabilities(self, crops: Pixels, *, batch_size: int = 64) -> NDArray[np.float64]:
        """Send crops (N, 1, 48, 48) to the worker and read its probabilities."""
        self.preprocessing.check(crops)
        parts = [np.empty((0, len(self.labels)))]
        for start in range(0, len(crops), batch_size):
            parts.append(self._answer(np.ascontiguousarray(crops[start : start + batch_size, 0])))
        found = np.concatenate(parts)
        return found / found.sum(1, keepdims=True)

    def _answer(self, faces: NDArray[np.uint8]) -> NDArray[np.float64]:
        process = self._process
        assert process.stdin is not None  # noqa: S101  (for the type checker)
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(json.dumps(faces.shape).encode() + b"\n" + faces.tobytes())
        process.stdin.flush()
        expected = 4 * len(faces) * len(self.labels)
        answer = process.stdout.read(expected)
        if len(answer) != expected:
            raise RuntimeError(f"The worker ended with code {process.wait()}; its messages are above.")
        return np.frombuffer(answer, "<f4").reshape(len(faces), -1).astype(np.float64)

    def cpu_seconds(self) -> float:
        """Return the processor time of the worker so far, of all its threads."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        """End the worker."""
        self._process.communicate()


class Recogniser(NamedTuple):
    """A recogniser by name, ready to run, with the versions of its libraries."""

    name: str
    model: Classifier
    versions: Mapping[str, str]

    def cpu_seconds(self) -> float:
        """Return the processor time so far of the process that computes."""
        return self.model.cpu_seconds() if isinstance(self.model, Peer) else time.process_time()


def main() -> None:
    """Measure recognisers, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="+", help="bundled models, peers with environments, or render")
    parser.add_argument("--data", type=Path, help="FER2013")
    parser.add_argument("--votes", type=Path, help="FER+'s votes")
    parser.add_argument("--sample", type=int, help="images of PrivateTest for FER2013-C; by default all")
    parser.add_argument("--speed", action="store_true", help="compare time per face instead of accuracy")
    options = parser.parse_args()
    if options.names != ["render"]:
        if options.data is None or (options.votes is None and not options.speed):
            parser.error("--data and --votes are needed to measure accuracy, --data for --speed")
        faces = load_fer2013(options.data)
        if options.speed:
            write_record(SPEED, speed(options.names, faces))
        else:
            for name in options.names:
                with started(name) as recogniser:
                    record = numbers(recogniser, with_votes(faces, options.votes), options.sample)
                write_record(RECORDS / f"{recogniser.name}.json", record)
    for path, text in render().items():
        write_atomically(path, text.encode())


@contextmanager
def started(text: str) -> Iterator[Recogniser]:
    """Start a bundled model (`NAME`) or a peer (`NAME=ENVIRONMENT`)."""
    name, _, environment = text.partition("=")
    if name in bundled_names():
        with tempfile.TemporaryDirectory() as folder:
            file = export_onnx(load_weights(bundled_path(name)), Path(folder) / "model.onnx").path
            versions = library_versions() | {"onnxruntime": version("onnxruntime")}
            yield Recogniser(name, OnnxClassifier(file, threads=1), versions)
        return
    if not environment:
        raise SystemExit(f"{name} is not a bundled model; a peer is given as NAME=ENVIRONMENT.")
    peer = Peer(name, Path(environment))
    try:
        yield Recogniser(name, peer, peer.versions)
    finally:
        peer.close()


def numbers(recogniser: Recogniser, faces: FaceDataset, sample: int | None) -> dict[str, Any]:
    """Measure PrivateTest, with and without copies of training images, and FER2013-C."""
    plain = evaluate(recogniser.model, faces, split="private", emotions="fer2013")
    wall, own, peers = time.perf_counter(), time.process_time(), recogniser.cpu_seconds()
    corrupted = evaluate_corruptions(
        recogniser.model, faces, split="private", emotions="fer2013", sample=sample, seed=SEED
    )
    seconds = {"cpu": time.process_time() - own, "wall": time.perf_counter() - wall}
    if isinstance(recogniser.model, Peer):
        seconds["worker_cpu"] = recogniser.cpu_seconds() - peers
    return {
        "name": recogniser.name,
        "date": date.today().isoformat(),
        "peer": isinstance(recogniser.model, Peer),
        "versions": recogniser.versions,
        "private": {
            title: {
                "label": plain.results[title].accuracy.to_dict(),
                "crowd": plain.crowd[title].levels[CLEAR].to_dict(),
            }
            for title in (ALL, NEW)
        },
        "corruptions": corrupted.to_dict(),
        "corruptions_seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def speed(names: list[str], faces: FaceDataset) -> dict[str, Any]:
    """Compare processor time per face, one face at a time, in interleaved rounds.

    Processor time is that of all threads of the recogniser's process, from the grey crop to probabilities. An
    environment (`NAME=ENVIRONMENT`, also of a bundled model) gives the size of the installation.
    """
    images = faces.split("public").images[:FACES]
    with ExitStack() as stack:
        recognisers = [stack.enter_context(started(name)) for name in names]
        found: dict[str, list[float]] = {one.name: [] for one in recognisers}
        for number in range(ROUNDS + 1):
            for one in recognisers:
                elapsed = milliseconds(one, images)
                if number:  # the first round warms up
                    found[one.name].append(elapsed)
    return {
        "date": date.today().isoformat(),
        "command": " ".join([*(name.partition("=")[0] for name in names), "--speed --data fer2013.zip"]),
        "rounds": ROUNDS,
        "faces": len(images),
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        "recognisers": {
            name: {"ms": [round(value, 3) for value in found[name]], "install_mb": size}
            for name, size in ((text.partition("=")[0], install_mb(text)) for text in names)
        },
    }


def milliseconds(recogniser: Recogniser, images: NDArray[np.uint8]) -> float:
    """Return the mean processor time of one face in milliseconds."""
    before = recogniser.cpu_seconds()
    for start in range(len(images)):
        crop = recogniser.model.preprocessing.prepare(images[start : start + 1])
        recogniser.model.probabilities(crop)
    return 1000 * (recogniser.cpu_seconds() - before) / len(images)


def install_mb(text: str) -> int | None:
    """Return the size of the files in a recogniser's environment, in MB; None without an environment."""
    _, _, environment = text.partition("=")
    if not environment:
        return None
    files = (Path(folder) / name for folder, _, names in os.walk(environment) for name in names)
    return round(sum(file.lstat().st_size for file in files) / 1e6)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(record, indent=1).encode() + b"\n")


def render() -> dict[Path, str]:
    """Render page and figure from the records, by output file."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDS.glob("*.json"))]
    records.sort(key=lambda record: (record["peer"], -record["corruptions"]["mean"][CLEAR]))
    compared = json.loads(SPEED.read_text(encoding="utf-8"))
    environment = markdown_templates(FileSystemLoader(ROOT / "benchmarks" / "templates"))
    page = environment.get_template("corruptions.md.jinja").render(
        records=records,
        corruptions=CORRUPTIONS,
        clear=CLEAR,
        labels=LABELS,
        titles=(ALL, NEW),
        speed=compared,
        median=statistics.median,
    )
    docs = ROOT / "docs"
    return {docs / "corruptions.md": page, docs / "images" / "corruptions.svg": figure(records)}


def figure(records: list[dict[str, Any]]) -> str:
    """Draw agreement with the voters by severity, a small plot for each corruption."""
    drawn = new_figure(10, 6.4)
    for number, name in enumerate(CORRUPTIONS):
        axes = drawn.add_subplot(3, 4, number + 1)
        plain(axes)
        for record, colour in zip(records, COLOURS, strict=True):
            found = record["corruptions"]
            values = [found["clean"][CLEAR]["accuracy"]]
            values += [one[CLEAR]["accuracy"] for one in found["corruptions"][name]["severities"]]
            axes.plot(range(6), [100 * value for value in values], color=colour, label=record["name"])
        axes.set_title(name.replace("_", " "), fontsize=9, color=INK)
        axes.set(ylim=(0, 100), xticks=range(6), xticklabels=["clean", *"12345"])
        axes.tick_params(labelsize=7)
    handles, names = drawn.axes[0].get_legend_handles_labels()
    empty = drawn.add_subplot(3, 4, 12)
    empty.axis("off")
    empty.legend(handles, names, loc="center", fontsize=8, frameon=False)
    return svg_file(svg_of(drawn, "corruptions"))


if __name__ == "__main__":
    main()
