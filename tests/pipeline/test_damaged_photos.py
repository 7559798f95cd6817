"""Damaged files of every format through the commands: each has an answer or a listed reason."""

import csv
import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention.cli import app
from tests.support.damaged_photos import damaged_photos

COUNT = 500


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    photo = Image.fromarray(astronaut[:240, 140:340]).resize((80, 96))
    for name, content in damaged_photos(photo, COUNT, seed=1):
        (folder / name).write_bytes(content)
    return folder


def call(*arguments):
    options = ("--detector", "none", "--on-error", "skip", "--workers", "2", "--device", "cpu")
    result = CliRunner().invoke(app, [*map(str, arguments), *options])
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == 1
    for word in ("Traceback", "Warning", "None.", "object at"):
        assert word not in result.output
    return result.output


@pytest.mark.slow
def test_predict_answers_or_lists_every_file(folder, tmp_path):
    output = call("predict", folder, "--output", tmp_path / "out", "--jsonl", tmp_path / "r.jsonl", "--quiet")
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    others = int(output.partition("left out, not images: ")[2].split()[0])
    assert len({record["image"] for record in records}) + others == COUNT
    for record in records:
        assert record["faces"] if "width" in record else record["error"].startswith("Cannot ")
    sound = [record for record in records if "_sound" in record["image"]]
    assert len(sound) > COUNT / 20
    assert all("_i_" in record["image"] or "faces" in record for record in sound)


@pytest.mark.slow
def test_faces_cuts_or_lists_every_file(folder, tmp_path):
    call("faces", folder, "--output", tmp_path / "out")
    with (tmp_path / "out" / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["source"] for row in rows) == sorted(path.name for path in folder.iterdir())
    for row in rows:
        assert bool(row["crop"]) != bool(row["reason"])
