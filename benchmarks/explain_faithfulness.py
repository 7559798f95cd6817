"""Measure the faithfulness of class activation maps by deletion and insertion on PublicTest.

    python benchmarks/explain_faithfulness.py --data fer2013.zip --record FILE

Faces are sampled without replacement (`--faces`, `--seed`). Each method's maps are compared with the same
three controls, which do not depend on the image. Areas are in [0, 1]; intervals are 95 % BCa bootstrap
intervals over faces.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from cost_setup import environment_of
from machine_load import Load

from fer_attention.atomic import write_atomically
from fer_attention.data import load_data
from fer_attention.explain import faithfulness, grad_cam
from fer_attention.explain.grad_cam import Method
from fer_attention.models import bundled_path, load_weights

MAPS: tuple[tuple[Method, str | None, int], ...] = (
    ("gradcam", None, 3),
    ("layercam", "stages.2.blocks", 6),
    ("layercam", "stages.1.blocks", 12),
    ("layercam", "stages.0.blocks", 24),
    ("gradcam", "stages.2.blocks", 6),
    ("eigencam", None, 3),
)
"""Method, layer (None for the last map) and side length of the layer's map."""

STEPS, REPEATS = 16, 2
WEIGHTS = "resnetv2_18_eca_elu.fer2013"


def main() -> None:
    """Measure, print and optionally write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    parser.add_argument("--faces", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    model = load_weights(bundled_path(WEIGHTS))
    crops = load_data(options.data).split("public")
    rows = np.random.default_rng(options.seed).choice(len(crops), options.faces, replace=False)
    assert model.preprocessing is not None  # noqa: S101 - bundled weights have it
    images = model.preprocessing.normalize(model.preprocessing.prepare(crops.take(np.sort(rows)).images))
    results = []
    for method, layer, grid in MAPS:
        maps = grad_cam(model, images, layer=layer, method=method)
        found = faithfulness(model, images, maps, steps=STEPS, repeats=REPEATS, grid=grid, seed=options.seed)
        results.append({"method": method, "layer": layer, "grid": grid, **asdict(found)})
        print(
            f"{method} {layer or 'last map'}: deletion {found.deletion:.3f}, insertion {found.insertion:.3f}"
        )
        for advantage in found.advantages:
            deletion = interval(advantage.deletion, advantage.deletion_interval)
            insertion = interval(advantage.insertion, advantage.insertion_interval)
            print(f"  over {advantage.control:14} deletion {deletion}, insertion {insertion}", flush=True)
    if options.record is not None:
        record = {
            "command": f"--data fer2013.zip --faces {options.faces} --seed {options.seed}",
            "weights": WEIGHTS,
            "split": "public",
            "steps": STEPS,
            "repeats": REPEATS,
            "environment": environment_of("cpu", Load()).model_dump(exclude_none=True)
            | {"grad-cam": version("grad-cam")},
            "results": results,
        }
        write_atomically(options.record, (json.dumps(record, indent=1) + "\n").encode())


def interval(value: float, ends: tuple[float, float]) -> str:
    """Format a difference with its interval."""
    return f"{value:+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f})"


if __name__ == "__main__":
    main()
