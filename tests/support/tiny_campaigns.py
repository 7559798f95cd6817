"""Helpers of the campaign tests: two tiny runs, random faces, and the command."""

import yaml
from typer.testing import CliRunner

from fer_attention.cli import app
from tests.support.datasets import write_fer2013_csv

CHANGES = {
    "epochs": 2,
    "batch_size": 8,
    "structure": {"width": 0.125, "img_size": 16},
    "precision": "float32",
    "trackers": [],
    "checkpoint_minutes": 0,
}
TEACHERS = {"teachers": ["{first}"], "teacher_weight": 0.9}


def campaign_fields(first=(), second=(), **fields):
    runs = [
        {"name": "first", "recipe": "quick", "data": "faces", "changes": {**CHANGES, **dict(first)}},
        {
            "name": "second",
            "recipe": "quick",
            "data": "faces",
            "changes": {**CHANGES, "seed": 1, **TEACHERS, **dict(second)},
        },
    ]
    return {"data": {"faces": {"path": "{faces}"}}, "runs": runs, **fields}


def campaign_file(folder, **fields):
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(campaign_fields(**fields), sort_keys=False))
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["campaign", *map(str, arguments), "--device", "cpu"])


def output_of(result):
    return " ".join(result.output.split())


def write_faces(folder):
    """Write a random `fer2013.csv`: 56 images to train on, 14 to select on, 7 for the test."""
    usages = ("Training",) * 56 + ("PublicTest",) * 14 + ("PrivateTest",) * 7
    return write_fer2013_csv(folder / "fer2013.csv", usages=usages)
