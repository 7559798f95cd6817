"""Take a trained model into the package, measure all that its record, card and tables say, and write them.

    python benchmarks/pretrained.py bundle RUN_FOLDER NAME --summary TEXT --trained-on TEXT \
        [--interpolation lanczos] [--data fer2013.zip [--votes ferplus_votes.csv]]
    python benchmarks/pretrained.py measure NAME --data fer2013.zip --votes ferplus_votes.csv
    python benchmarks/pretrained.py time
    python benchmarks/pretrained.py render

`bundle` copies the weights of a finished run under their new name; `--data` (and `--votes`, if it trained on
votes) is for a run whose record does not say which images it has seen. `measure` opens PrivateTest, once for
a reported model, and writes `fer_attention/weights/NAME.json`. `time` measures the milliseconds of all
bundled models anew, for a quiet machine. `render` turns the records into the model cards in
`docs/pretrained/`, the tables in `docs/pretrained.md` and README.md; a test holds them together.

Accuracies are of one plain pass unless they say otherwise, with Wilson intervals. Degraded images are a
sample of PrivateTest (n and seed in the record). Times are medians over interleaved rounds, batch 1, one
CPU thread.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from cost_setup import Setup, surroundings
from timing import Effort, interleaved, spread

from fer_attention.atomic import write_atomically
from fer_attention.classifiers import OnnxClassifier
from fer_attention.data import SeenImages, load_fer2013, load_ferplus, with_votes
from fer_attention.data.seen import SEEN, without_digests
from fer_attention.data.splits import TRAIN
from fer_attention.emotions import FER2013
from fer_attention.evaluation import (
    ALL,
    NEW,
    Accuracy,
    Evaluation,
    complexity,
    evaluate,
)
from fer_attention.evaluation.crowd import CLEAR
from fer_attention.export import export_onnx
from fer_attention.inference import predict_logits
from fer_attention.models import FERModel, load_weights, read_metadata, save_weights
from fer_attention.models.bundled import (
    bundled_names,
    bundled_path,
    file_sha256,
    list_pretrained,
    pretrained_record,
)

ROOT = Path(__file__).parent.parent
FACES, SEED = 1200, 2026
DEGRADED: dict[str, tuple[str, float] | None] = {
    "clean": None,
    "noise, sd 10": ("noise", 10.0),
    "noise, sd 20": ("noise", 20.0),
    "blur, σ 1 px": ("blur", 1.0),
    "blur, σ 2 px": ("blur", 2.0),
    "through 24 px": ("resolution", 24.0),
    "JPEG, quality 20": ("jpeg", 20.0),
    "lower third hidden": ("lower_face", 1 / 3),
    "eyes hidden": ("eyes", 0.25),
}
SEVEN = "answers in FER2013's seven"
SELECTION = f"PublicTest, {SEVEN} (the epoch was selected on it: optimistic)"
BEGIN, END = "<!-- written by benchmarks/pretrained.py -->", "<!-- end -->"
LICENCE = (
    "weights Apache-2.0, trained by this project; FER2013 is under the Database Contents License and is not "
    "part of the package"
)


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("bundle")
    one.add_argument("run", type=Path, help="folder of a finished run, or a weights file")
    one.add_argument("name")
    one.add_argument("--summary", required=True, help="what it is for, in a sentence")
    one.add_argument("--trained-on", required=True, help="its data, in a sentence")
    one.add_argument("--interpolation", help="filter that cuts faces out of photos")
    one.add_argument("--data", type=Path, help="FER2013, if the record lacks the images that were seen")
    one.add_argument("--votes", type=Path, help="FER+'s votes, if the run trained on them")
    two = commands.add_parser("measure")
    two.add_argument("name")
    two.add_argument("--data", type=Path, required=True, help="FER2013")
    two.add_argument("--votes", type=Path, required=True, help="FER+'s votes")
    commands.add_parser("time")
    commands.add_parser("render")
    options = parser.parse_args()
    if options.command == "bundle":
        bundle(options)
    elif options.command == "measure":
        torch.set_num_threads(1)
        measure(options.name, options.data, options.votes)
    elif options.command == "time":
        torch.set_num_threads(1)
        for name in bundled_names():
            record = pretrained_record(name)
            keep(name, record | timed(record, load_weights(bundled_path(name))))
    if options.command != "bundle":  # which leaves the record to `measure`
        for path, text in render().items():
            write_atomically(path, text.encode())


def bundle(options: argparse.Namespace) -> None:
    """Copy a run's weights into the package, with what they are for in their record."""
    source = options.run / "best.safetensors" if options.run.is_dir() else options.run
    model = load_weights(source)
    if model.preprocessing is None:
        raise ValueError(f"{source} has no preprocessing.")
    if options.interpolation:
        model.preprocessing = replace(model.preprocessing, interpolation=options.interpolation)
    record = dict(read_metadata(source).record)
    if model.spec.name != options.name.partition(".")[0]:
        raise ValueError(f"{source} holds {model.spec.name}, which cannot be called {options.name}.")
    config = record["config"]
    record |= {"summary": options.summary, "trained_on": options.trained_on}
    record["config"] = {
        **config,
        "weights": placeless(config.get("weights")),
        "teachers": [placeless(one) for one in config.get("teachers", ())],
    }
    if SEEN not in record:
        if options.data is None:
            raise ValueError(f"The record of {source} lacks the images that it has seen: give --data.")
        record |= seen_by(record, options.data, options.votes)
    path = ROOT / "fer_attention" / "weights" / f"{options.name}.safetensors"
    save_weights(model, path, record=record, dtype=getattr(torch, record["config"]["keep_as"]))


def seen_by(record: dict[str, Any], data: Path, votes: Path | None) -> dict[str, Any]:
    """The entry of a record on the images of a run, from the data that its fingerprint is of."""
    faces = load_fer2013(data) if votes is None else load_ferplus(data, votes=votes)
    used = faces.take(np.isin(faces.splits, (TRAIN, record["selected_on"])))
    if used.fingerprint != record["data_fingerprint"]:
        raise ValueError(f"The run was on other data than {data}, or under other votes.")
    return SeenImages.of(used.split(TRAIN), used.split(record["selected_on"])).to_record()


def placeless(weights: str | None) -> str | None:
    """The run's name in place of the path of its weights, which is of one machine."""
    path = Path(weights or "")
    return f"{{{path.parent.name}}}" if path.name == "best.safetensors" else weights


def measure(name: str, data: Path, votes: Path) -> None:
    """Measure a bundled model and write its record."""
    path = bundled_path(name)
    model, record = load_weights(path), read_metadata(path).record
    faces = with_votes(load_fer2013(data), votes)
    sets = {"PrivateTest": {}} if set(model.labels or ()) - set(FER2013) else {}
    sets |= {
        f"PrivateTest, {SEVEN}": {"emotions": "fer2013"},
        f"PrivateTest, {SEVEN}, ten crops": {"emotions": "fer2013", "tta": "ten-crop"},
    }
    evaluations = {
        title: evaluate(model, faces, split="private", **options) for title, options in sets.items()
    }
    evaluations[SELECTION] = evaluate(model, faces, split="public", emotions="fer2013")
    plain = evaluations[f"PrivateTest, {SEVEN}"]
    sampled = {
        title: evaluate(
            model,
            faces,
            split="private",
            degradations=[degradation] if degradation else [],
            sample=FACES,
            seed=SEED,
            emotions="fer2013",
        )
        for title, degradation in DEGRADED.items()
    }
    costs = complexity(model)
    content: dict[str, Any] = {
        "model": {
            "name": name,
            "summary": record["summary"],
            "labels": list(model.labels or ()),
            "parameters": costs.parameters,
            "macs": costs.macs,
            "size": path.stat().st_size,
            "sha256": file_sha256(path),
            "crowd_accuracy": brief(plain.crowd[ALL].levels[CLEAR]),
            "crowd_accuracy_without_copies": brief(plain.crowd[NEW].levels[CLEAR]),
            "label_accuracy": brief(plain.results[ALL].accuracy),
            "data": record["trained_on"],
            "licence": LICENCE,
        },
        "command": f"python benchmarks/pretrained.py measure {name}",
        "evaluations": {title: summary(found) for title, found in evaluations.items()},
        "degraded": {
            "n": FACES,
            "seed": SEED,
            "results": {
                title: {
                    "label": brief(found.results[ALL].accuracy),
                    "crowd": brief(found.crowd[ALL].levels[CLEAR]),
                }
                for title, found in sampled.items()
            },
        },
        "training": without_digests(record),
    }
    keep(name, content | timed(content, model))


def keep(name: str, record: dict[str, Any]) -> None:
    """Write the record of bundled weights."""
    write_atomically(bundled_path(name).with_suffix(".json"), json.dumps(record, indent=1).encode() + b"\n")


def timed(record: dict[str, Any], model: FERModel) -> dict[str, Any]:
    """The parts of a record that depend on this machine."""
    times = milliseconds(model)
    medians = {way: round(time["median"], 2) for way, time in times.items()}
    return {
        "model": {**record["model"], "milliseconds": medians},
        "times": {**times, "load_average": round(os.getloadavg()[0], 2)},
        "environment": surroundings(Setup()).model_dump(exclude_none=True),
    }


def brief(one: Accuracy) -> dict[str, Any]:
    """Reduce an accuracy to the fields of `Measured`."""
    return {"value": one.value, "low": one.low, "high": one.high, "n": one.n}


def summary(found: Evaluation) -> dict[str, Any]:
    """An evaluation without its figures by bin."""
    sets = {}
    for title, metrics in found.results.items():
        numbers = metrics.to_dict()
        sets[title] = {key: value for key, value in numbers.items() if key != "reliability"}
    return {
        "results": sets,
        "crowd": {title: one.to_dict() for title, one in found.crowd.items()},
        "notes": list(found.notes),
    }


def milliseconds(model: FERModel) -> dict[str, Any]:
    """Time of one face, of noise, in torch and in ONNX Runtime."""
    preprocessing = model.preprocessing
    if preprocessing is None:
        raise ValueError("The model has no preprocessing.")
    with tempfile.TemporaryDirectory() as folder:
        onnx = OnnxClassifier(export_onnx(model, Path(folder) / "model.onnx").path, threads=1)
        shape = (1, preprocessing.channels, *preprocessing.size)
        batch = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        calls = {
            "torch": lambda: predict_logits(model, preprocessing.normalize(batch)).softmax(1),
            "onnx": lambda: onnx.probabilities(batch.numpy()),
        }
        times = interleaved(calls, Effort(rounds=60, warmup=20, least_ms=20))
    return {name: spread(values) for name, values in times.items()}


def render() -> dict[Path, str]:
    """Cards and tables by the files they belong in, from the records alone."""
    records = {name: pretrained_record(name) for name in bundled_names()}
    models = list_pretrained()
    environment = jinja2.Environment(  # noqa: S701  (Markdown)
        loader=jinja2.FileSystemLoader(ROOT / "benchmarks" / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, digits=1: f"{value * 100:.{digits}f}"
    pages = {}
    for model in models:
        weights = load_weights(bundled_path(model.name))
        pages[ROOT / "docs" / "pretrained" / f"{model.name}.md"] = environment.get_template(
            "model_card.md.jinja"
        ).render(
            model=model, record=records[model.name], spec=weights.spec, preprocessing=weights.preprocessing
        )
    page = environment.get_template("pretrained.md.jinja").render(models=models, records=records)
    pages[ROOT / "docs" / "pretrained.md"] = page
    table = environment.get_template("pretrained_table.md.jinja")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = table.render(models=models, records=records, folder="docs/pretrained/")
    pages[ROOT / "README.md"] = f"{before}{BEGIN}\n{written}{END}{after}"
    return pages


if __name__ == "__main__":
    main()
