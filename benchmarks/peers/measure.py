"""Measure expression recognisers in one harness: FER2013's PrivateTest, FER+'s votes and FER2013-C.

    python benchmarks/peers/measure.py fer --python ENVIRONMENT/bin/python \
        --data fer2013.zip --votes ferplus_votes.csv [--sample 1200]
    python benchmarks/peers/measure.py BUNDLED_MODEL --data fer2013.zip --votes ferplus_votes.csv
    python benchmarks/peers/measure.py render

A peer runs in an environment of its own, as `workers/NAME_worker.py`: it gets grey crops of 48×48 pixels and
answers with probabilities, so that all recognisers see the same pixels. A bundled model is exported to
ONNX first. Each writes `benchmarks/records/peers/NAME.json`; `render` writes `docs/corruptions.md` and its
figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import FileSystemLoader
from numpy.typing import NDArray

from fer_attention.atomic import write_atomically
from fer_attention.calibration import Calibration
from fer_attention.classifiers import Classifier, OnnxClassifier
from fer_attention.classifiers.base import Pixels
from fer_attention.data import FaceDataset, load_fer2013, with_votes
from fer_attention.evaluation import ALL, CORRUPTIONS, NEW, evaluate, evaluate_corruptions, library_versions
from fer_attention.evaluation.crowd import CLEAR
from fer_attention.export import export_onnx
from fer_attention.models import bundled_names, bundled_path, load_weights
from fer_attention.preprocessing import Preprocessing
from fer_attention.rendering.figures import INK, new_figure, plain, svg_file
from fer_attention.rendering.page import markdown_templates

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RECORDS = ROOT / "benchmarks" / "records" / "peers"
SEED = 2026
COLOURS = ("#2458b8", "#d1661a", "#3a8a4d", "#8a4da8")


class Peer:
    """A recogniser in another process.

    Attributes:
        labels: Its emotions.
        preprocessing: Grey crops of 48×48 pixels; what its network needs, it does itself.
        versions: Its libraries.
        calibration: None is known, so it is taken at face value.

    Args:
        name: The worker is `workers/NAME_worker.py`.
        python: Interpreter of its environment.
    """

    def __init__(self, name: str, python: Path) -> None:
        worker = HERE / "workers" / f"{name}_worker.py"
        command = [str(python), str(worker)]
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

    def close(self) -> None:
        """End the worker."""
        self._process.communicate()


def main() -> None:
    """Measure one recogniser, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", help="a peer with a worker, a bundled model, or render")
    parser.add_argument("--python", type=Path, help="interpreter of the peer's environment")
    parser.add_argument("--data", type=Path, help="FER2013")
    parser.add_argument("--votes", type=Path, help="FER+'s votes")
    parser.add_argument("--sample", type=int, help="images of PrivateTest for FER2013-C; by default all")
    options = parser.parse_args()
    if options.name != "render":
        if options.data is None or options.votes is None:
            parser.error("--data and --votes are needed to measure")
        faces = with_votes(load_fer2013(options.data), options.votes)
        write_record(options.name, measured(options.name, faces, options))
    for path, text in render().items():
        write_atomically(path, text.encode())


def measured(name: str, faces: FaceDataset, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a peer or a bundled model."""
    if name in bundled_names():
        with tempfile.TemporaryDirectory() as folder:
            file = export_onnx(load_weights(bundled_path(name)), Path(folder) / "model.onnx").path
            return numbers(name, OnnxClassifier(file, threads=1), faces, options.sample, library_versions())
    if options.python is None:
        raise SystemExit(f"{name} is no bundled model: a peer needs --python.")
    peer = Peer(name, options.python)
    try:
        return numbers(name, peer, faces, options.sample, peer.versions)
    finally:
        peer.close()


def numbers(
    name: str, model: Classifier, faces: FaceDataset, sample: int | None, versions: dict[str, str]
) -> dict[str, Any]:
    """Measure PrivateTest, with and without copies of training images, and FER2013-C."""
    plain = evaluate(model, faces, split="private", emotions="fer2013")
    corrupted = evaluate_corruptions(
        model, faces, split="private", emotions="fer2013", sample=sample, seed=SEED
    )
    return {
        "name": name,
        "date": date.today().isoformat(),
        "versions": versions,
        "private": {
            title: {
                "label": plain.results[title].accuracy.to_dict(),
                "crowd": plain.crowd[title].levels[CLEAR].to_dict(),
            }
            for title in (ALL, NEW)
        },
        "corruptions": corrupted.to_dict(),
    }


def write_record(name: str, record: dict[str, Any]) -> None:
    """Write the record of one recogniser."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    write_atomically(RECORDS / f"{name}.json", json.dumps(record, indent=1).encode() + b"\n")


def render() -> dict[Path, str]:
    """Render page and figure from the records, by output file."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RECORDS.glob("*.json"))]
    records.sort(key=lambda record: -record["corruptions"]["mean"][CLEAR])
    environment = markdown_templates(FileSystemLoader(ROOT / "benchmarks" / "templates"))
    page = environment.get_template("corruptions.md.jinja").render(
        records=records, corruptions=CORRUPTIONS, clear=CLEAR
    )
    docs = ROOT / "docs"
    return {docs / "corruptions.md": page, docs / "images" / "corruptions.svg": figure(records)}


def figure(records: list[dict[str, Any]]) -> str:
    """Draw agreement with the voters by severity, a small plot for each corruption."""
    drawn = new_figure(10, 6.4)
    for number, name in enumerate(CORRUPTIONS):
        axes = drawn.add_subplot(3, 4, number + 1)
        plain(axes)
        for record, colour in zip(records, COLOURS, strict=False):
            found = record["corruptions"]
            values = [found["clean"][CLEAR]["accuracy"]]
            values += [one[CLEAR]["accuracy"] for one in found["corruptions"][name]["severities"]]
            axes.plot(range(6), [100 * value for value in values], color=colour, label=record["name"])
        axes.set_title(name.replace("_", " "), fontsize=9, color=INK)
        axes.set(ylim=(0, 100), xticks=range(6), xticklabels=["clean", *"12345"])
        axes.tick_params(labelsize=7)
    handles, names = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="lower right", fontsize=9, frameon=False)
    return svg_file(drawn, "corruptions")


if __name__ == "__main__":
    main()
