"""`fer-attention train`, from a folder of images to weights that the other commands take."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.models import read_record
from fer_attention.models.weights import read_spec

SETTINGS = ("epochs=1", "batch_size=8", "structure.width=0.125", "structure.img_size=16", "trackers=[]")
FAST = [*(word for setting in SETTINGS for word in ("--set", setting)), "--device", "cpu"]


def write(folder, names, label_count=2, each=10):
    generator = np.random.default_rng(0)
    for split in names:
        for emotion in ("happy", "sad", "fear")[:label_count]:
            place = folder / split / emotion
            place.mkdir(parents=True)
            for number in range(each):
                pixels = generator.integers(0, 256, (20, 20), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["train", "quick", *map(str, arguments), *FAST])


@pytest.mark.parametrize(
    ("splits", "words", "counts"),
    [
        (("train", "val", "test"), "", (20, 20)),
        (("train", "test"), "protocol holdout", (18, 2)),
        (("",), "protocol stratified_kfold, fold 0", (12, 4)),
    ],
)
def test_a_folder_is_trained_on_by_the_sound_protocol_of_its_layout(tmp_path, splits, words, counts):
    data = write(tmp_path / "faces", splits)
    result = run("--data", data, "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert words in result.output
    assert "Best epoch 1 of 1" in result.output
    summary = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (summary["training_images"], summary["selection_images"]) == counts
    weights = tmp_path / "run" / "best.safetensors"
    assert read_spec(weights).num_classes == 2
    assert read_record(weights)["config"]["epochs"] == 1
    measured = CliRunner().invoke(app, ["evaluate", str(weights), "--data", str(data)])
    assert measured.exit_code == 0, measured.output


def test_a_saved_fold_trains_and_is_evaluated_on_its_test_part(tmp_path):
    data, folds = write(tmp_path / "faces", ("",)), tmp_path / "folds.json"
    made = ["data", "split", str(data), "--protocol", "stratified_kfold", "--output", str(folds)]
    assert CliRunner().invoke(app, made).exit_code == 0
    fold = ["--data", str(data), "--protocol", str(folds), "--fold", "2"]
    result = run(*fold, "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    numbers = tmp_path / "numbers.json"
    arguments = ["evaluate", str(tmp_path / "run" / "best.safetensors"), *fold, "--json", str(numbers)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(numbers.read_text())["results"]["all images"]["n"] == 4
    result = run(*fold[:-1], "9", "--output", tmp_path / "other")
    assert result.exit_code == 2
    assert "has folds 0 to 4" in result.output


def test_a_fraction_takes_a_share_of_the_training_images_only(tmp_path):
    data = write(tmp_path / "faces", ("train", "val", "test"))
    result = run("--data", data, "--output", tmp_path / "run", "--fraction", "0.5")
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (summary["training_images"], summary["selection_images"]) == (10, 20)


def test_damaged_images_stop_the_command_or_are_counted(tmp_path):
    data = write(tmp_path / "faces", ("train", "val", "test"))
    (data / "train" / "sad" / "3.png").write_bytes(b"no image")
    result = run("--data", data, "--output", tmp_path / "run")
    assert result.exit_code == 2
    assert "3.png" in result.output
    result = run("--data", data, "--output", tmp_path / "run", "--on-error", "skip")
    assert result.exit_code == 0, result.output
    assert "1 images are left out, the first: train/sad/3.png" in result.output


def test_the_same_command_goes_on_and_another_config_does_not(tmp_path):
    data = write(tmp_path / "faces", ("train", "val", "test"))
    arguments = ["--data", data, "--output", tmp_path / "run"]
    assert run(*arguments).exit_code == 0
    assert len(list(csv.reader((tmp_path / "run" / "history.csv").open()))) == 2
    assert run(*arguments).exit_code == 0
    result = run(*arguments, "--set", "lr=0.3")
    assert result.exit_code == 2
    assert "lr was 0.1, is 0.3" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "epochs"], "--set takes field=value"),
        (["--set", "epoch=3"], "epoch"),
        (["--model", "resnet18_cbma"], "Did you mean 'resnet18_cbam'"),
        (["--protocol", "losso"], "Did you mean 'loso'"),
        (["--protocol", "loso"], "needs subjects"),
        (["--fraction", "0"], "above 0 and at most 1"),
        (["--format", "jaff"], "Did you mean 'jaffe'"),
    ],
)
def test_a_wrong_argument_fails_before_anything_is_written(tmp_path, arguments, message):
    data = write(tmp_path / "faces", ("train", "val", "test"))
    result = run("--data", data, "--output", tmp_path / "run", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()
