"""Measure the faithfulness of maps over the seeds of a study: one model per attention and seed.

    python benchmarks/explain_seeds.py STUDY --data fer2013.zip [--faces 100]
    python benchmarks/explain_seeds.py table

STUDY is the folder of a study with `keep_weights: true`. Deletion and insertion are those of
`explain_faithfulness.py`, on the same faces of PublicTest for every model. Runs are added to
`benchmarks/records/explain_seeds.json` one by one, and the same command resumes. `table` prints the table of
`docs/explain.md`: means and 95 % t intervals over seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_attention.atomic import write_atomically
from fer_attention.data import load_fer2013
from fer_attention.explain import attention_maps, faithfulness, grad_cam
from fer_attention.models import FERModel, load_weights
from fer_attention.study.analysis.statistics import mean_interval
from fer_attention.study.records import RECORD, WEIGHTS, RunRecord, read_record
from fer_attention.training.setup import environment

RECORDS = Path(__file__).parent / "records" / "explain_seeds.json"
ATTENTIONS = ("none", "se", "eca", "cbam")
LAYERCAM, SPATIAL = "LayerCAM, stages.0.blocks", "spatial attention, stages.0"
STEPS, REPEATS, GRID = 16, 1, 24


def main() -> None:
    """Measure the runs that the record lacks, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a study, or table")
    parser.add_argument("--data", type=Path, help="FER2013")
    parser.add_argument("--faces", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="seed of the faces and the controls")
    options = parser.parse_args()
    if str(options.study) == "table":
        print(table(json.loads(RECORDS.read_text(encoding="utf-8"))))
        return
    if options.data is None:
        parser.error("--data is needed to measure")
    crops = load_fer2013(options.data).split("public")
    rows = np.random.default_rng(options.seed).choice(len(crops), options.faces, replace=False)
    images = crops.take(np.sort(rows)).images
    facts = {
        "command": f"STUDY --data fer2013.zip --faces {options.faces} --seed {options.seed}",
        "split": "public",
        "faces": options.faces,
        "steps": STEPS,
        "repeats": REPEATS,
        "environment": environment(torch.device("cpu"), 1) | {"grad-cam": version("grad-cam")},
    }
    runs: list[dict[str, Any]] = []
    if RECORDS.is_file():
        found = json.loads(RECORDS.read_text(encoding="utf-8"))
        if any(found[name] != value for name, value in facts.items()):
            raise SystemExit(f"{RECORDS} was made with other settings; move it away to start again.")
        runs = found["runs"]
    for run, model in kept_runs(options.study):
        if run.id in [one["id"] for one in runs]:
            continue
        runs.append(measured(run, model, images, options.seed))
        runs.sort(key=lambda one: (one["seed"], one["attention"]))
        write_atomically(RECORDS, (json.dumps(facts | {"runs": runs}, indent=1) + "\n").encode())
    print(table({"runs": runs}))


def kept_runs(study: Path) -> Iterable[tuple[RunRecord, FERModel]]:
    """Yield the finished runs of a study with their models."""
    folders = [path.parent for path in sorted(study.glob(f"runs/*/{RECORD}"))]
    records = [record for record in map(read_record, folders) if record.factors["attention"] in ATTENTIONS]
    for record in sorted(records, key=lambda one: (one.seed, one.factors["attention"])):
        weights = study / "runs" / record.id / WEIGHTS
        if not weights.is_file():
            raise SystemExit(f"{weights} is missing: the study needs keep_weights: true.")
        yield record, load_weights(weights)


def measured(run: RunRecord, model: FERModel, pixels: np.ndarray[Any, Any], seed: int) -> dict[str, Any]:
    """Measure the maps of one run."""
    assert model.preprocessing is not None  # noqa: S101 - weights of a study have it
    images = model.preprocessing.normalize(model.preprocessing.prepare(pixels))
    maps = {LAYERCAM: grad_cam(model, images, layer="stages.0.blocks", method="layercam")}
    if run.factors["attention"] == "cbam":
        maps[SPATIAL] = spatial_attention(model, images)
    results = {}
    for name, values in maps.items():
        found = faithfulness(model, images, values, steps=STEPS, repeats=REPEATS, grid=GRID, seed=seed)
        results[name] = {
            "deletion": found.deletion,
            "insertion": found.insertion,
            "gains": {
                gain.control: {"deletion": gain.deletion, "insertion": gain.insertion}
                for gain in found.advantages
            },
        }
        print(f"{run.id} {run.model} seed {run.seed}, {name}: {found.deletion:.3f} {found.insertion:.3f}")
    return {
        "id": run.id,
        "attention": run.factors["attention"],
        "seed": run.seed,
        "accuracy": run.validation.accuracy,
        "maps": results,
    }


def spatial_attention(model: FERModel, images: torch.Tensor) -> torch.Tensor:
    """Return the mean spatial attention of the first stage, enlarged to the size of the images (N, H, W)."""
    found = [one for one in attention_maps(model, images) if one.layer.startswith("stages.0.")]
    maps = torch.stack([one.spatial for one in found if one.spatial is not None]).mean(0)
    return torch.nn.functional.interpolate(maps[:, None], images.shape[2:], mode="bilinear").squeeze(1)


def table(record: dict[str, Any]) -> str:
    """Return a Markdown table of means over seeds with 95 % t intervals."""
    lines = [
        "| map | attention | seeds | deletion (lower is better) | insertion (higher is better) "
        "| deletion gain over a centre blob | insertion gain over a centre blob |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in (LAYERCAM, SPATIAL):
        for attention in ATTENTIONS:
            found = [
                run["maps"][name]
                for run in record["runs"]
                if run["attention"] == attention and name in run["maps"]
            ]
            if not found:
                continue
            cells = [mean_of([one[kind] for one in found], sign="") for kind in ("deletion", "insertion")] + [
                mean_of([one["gains"]["centre"][kind] for one in found], sign="+")
                for kind in ("deletion", "insertion")
            ]
            lines.append(f"| {name} | {attention} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_of(values: list[float], *, sign: str) -> str:
    """Format the mean of independent runs with its interval."""
    text = f"{np.mean(values):{sign}.3f}"
    if len(values) > 1:
        low, high = mean_interval(values)
        text += f" ({low:{sign}.3f} to {high:{sign}.3f})"
    return text.replace("-", "−")


if __name__ == "__main__":
    main()
