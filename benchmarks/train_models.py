"""Train models under one recipe with several seeds, and write a record of each run.

    python benchmarks/train_models.py resnetv2_18_eca_elu resnetv2_18_elu --recipe quick --seeds 0 1 2 \
        --data fer2013.zip --output runs/pair --records benchmarks/records/pair
    python benchmarks/train_models.py --gpu-set --recipe strong --seeds 0 1 2 --data fer2013.zip \
        --output runs/strong --records benchmarks/records/strong      # the paper's three and their baselines

An interrupted command resumes where it stopped. A record contains config, machine, learning curve, accuracy
on PublicTest (which selects the epoch) and on PrivateTest, with and without copies of training images.
PrivateTest is opened once per finished run.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from fer_attention.atomic import write_atomically
from fer_attention.data import FaceDataset, load_fer2013
from fer_attention.data.seen import without_digests
from fer_attention.device import resolve_device
from fer_attention.evaluation import ALL, NEW, evaluate
from fer_attention.models import load_weights
from fer_attention.training import TrainingCallbacks, TrainingResult, load_recipe, train

GPU_SET = (
    "vgg19_cbam_elu",
    "vgg19_elu",
    "resnet50_cbam_elu",
    "resnet50_elu",
    "resnetv2_50_cbam_elu",
    "resnetv2_50_elu",
)
"""The paper's three best models and their baselines without attention; they need a GPU."""


def main() -> None:
    """Train the models of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--gpu-set", action="store_true", help=", ".join(GPU_SET))
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="changes")
    parser.add_argument("--structure", default="{}", help="fields of the ModelSpec as YAML, for all models")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--records", type=Path, required=True, help="folder of the records")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    models = [*options.models, *(GPU_SET if options.gpu_set else ())]
    if not models:
        parser.error("name at least one model, or pass --gpu-set")
    data = load_fer2013(options.data)
    options.records.mkdir(parents=True, exist_ok=True)
    changes = {name: yaml.safe_load(value) for name, value in (c.split("=", 1) for c in options.changes)}
    for seed in options.seeds:
        for model in models:
            record = options.records / f"{model}.seed{seed}.json"
            if record.exists():
                print(f"{record} exists", flush=True)
                continue
            structure = {"structure": yaml.safe_load(options.structure)}
            config = load_recipe(options.recipe, {**changes, **structure, "model": model, "seed": seed})
            callbacks = TrainingCallbacks(
                on_epoch=lambda e: print(
                    e.epoch, round(e.loss, 4), round(e.validation_accuracy, 4), flush=True
                )
            )
            result = train(
                config, data, options.output / record.stem, device=options.device, callbacks=callbacks
            )
            write_atomically(record, json.dumps(_record(result, data, options.device), indent=1).encode())
            print(f"{record} written", flush=True)
    print(summary(options.records))


def summary(folder: Path) -> str:
    """Format the records of a folder as a Markdown table: mean and range over the seeds."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.seed*.json")):
        runs[path.name.split(".seed")[0]].append(json.loads(path.read_text(encoding="utf-8")))
    lines = [
        "| model | parameters | seeds | PublicTest | PrivateTest | without duplicates |",
        "| --- | ---: | ---: | --- | --- | --- |",
    ]
    for model, found in runs.items():
        public = [run["public"] for run in found]
        private, new = (
            [run[part]["correct"] / run[part]["n"] for run in found]
            for part in ("private", "private_without_duplicates")
        )
        cells = " | ".join(
            f"{100 * fmean(values):.2f} % ({100 * min(values):.2f} to {100 * max(values):.2f})"
            for values in (public, private, new)
        )
        lines.append(f"| `{model}` | {found[0]['parameters']:,} | {len(found)} | {cells} |")
    return "\n".join(lines)


def _record(result: TrainingResult, data: FaceDataset, device: str) -> dict[str, object]:
    model = load_weights(result.weights, device=resolve_device(device))
    found = evaluate(model, data, split="private").results
    return {
        **without_digests(model.record),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "public": result.best.validation_accuracy,
        "private": vars(found[ALL].accuracy),
        "private_without_duplicates": vars(found[NEW].accuracy),
        "history": [vars(epoch) for epoch in result.history],
    }


if __name__ == "__main__":
    main()
