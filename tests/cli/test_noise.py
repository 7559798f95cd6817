"""No command reports more than chance on pure noise without a warning that says why."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.models import read_metadata

pytestmark = pytest.mark.usefixtures("without_curves")

EMOTIONS = ("angry", "fear", "happy", "sad", "surprise")
EACH = 24
LIMIT = 0.2 + 3 * np.sqrt(0.2 * 0.8 / EACH)  # chance and three standard errors, of a fold of 24 images
SETTINGS = (
    "epochs=25",
    "batch_size=16",
    "lr=0.02",
    "ema_decay=0.5",
    "label_smoothing=0",
    "schedule=constant",
    "structure.width=0.25",
    "structure.stem=half",
    "structure.img_size=16",
    "structure.drop_rate=0",
    "augment.rotate=0",
    "augment.translate=0",
    "augment.scale=0",
    "augment.erase=0",
    "augment.flip=0",
    "precision=float32",
    "trackers=[]",
)


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for emotion in EMOTIONS:
        (folder / emotion).mkdir()
        for number in range(EACH):
            pixels = generator.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / emotion / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def trained(noise, tmp_path_factory):
    """Weights trained on noise, and the output of their training."""
    output = tmp_path_factory.mktemp("runs") / "run"
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    said = call("train", "quick", "--data", noise, "--output", output, *settings, "--device", "cpu").output
    return output / "best.safetensors", said


def measured(tmp_path, *arguments):
    result = call("evaluate", *arguments, "--json", tmp_path / "numbers.json")
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    return numbers["results"]["all images"], result


def test_evaluate_after_train_measures_the_held_out_fold(noise, trained, tmp_path):
    found, result = measured(tmp_path, trained[0], "--data", noise)
    assert found["n"] == EACH
    assert found["accuracy"] <= LIMIT
    assert "Measured on the test images of stratified_kfold, fold 0" in result.output
    assert "warning" not in result.stderr


def test_insisting_on_seen_images_gives_a_warning(noise, trained, tmp_path):
    found, result = measured(tmp_path, trained[0], "--data", noise, "--allow-seen")
    assert found["n"] == 5 * EACH
    assert "warning: 96 of the 120 images have been seen by the model: 72 trained it" in result.stderr
    assert "warning: Numbers on all images are too good." in result.stderr


@pytest.mark.parametrize("fold", [1, 2, 3, 4])
def test_folds_that_the_model_has_seen_are_refused(noise, trained, fold):
    for named in (["--protocol", "stratified_kfold"], []):
        result = call("evaluate", trained[0], "--data", noise, *named, "--fold", fold, code=2)
        assert (
            "No image of the split test is new to the model. 24 of the 24 images have been" in result.stderr
        )
        assert "--allow-seen" in result.stderr


def test_a_protocol_by_name_takes_fold_and_seed_of_the_weights(noise, trained, tmp_path):
    found, result = measured(tmp_path, trained[0], "--data", noise, "--protocol", "stratified_kfold")
    assert found["n"] == EACH
    assert "warning" not in result.stderr
    division = read_metadata(trained[0]).record["division"]
    assert division == {"protocol": "stratified_kfold", "fold": 0, "seed": 0, "options": {}}


def test_a_fold_without_a_protocol_needs_weights_that_name_one(noise):
    result = call("evaluate", "resnetv2_18_eca_elu.fer2013", "--data", noise, "--fold", 1, code=2)
    assert "--fold needs --protocol" in result.stderr


def test_training_calls_its_own_accuracy_optimistic(trained):
    assert re.search(r"Best epoch \d+ of 25: [\d.]+% on the selection images", trained[1])
    assert "They chose the epoch, so this number is optimistic" in trained[1]
    assert "fer-attention evaluate" in trained[1]


def test_corruptions_are_measured_on_new_images_too(noise, trained, tmp_path):
    numbers = tmp_path / "numbers.json"
    arguments = ("evaluate", trained[0], "--data", noise, "--corruptions", "--json", numbers)
    result = call(*arguments)
    found = json.loads(numbers.read_text())
    assert found["n"] == EACH
    assert found["clean"]["data's labels"]["accuracy"] <= LIMIT
    assert "Measured on the test images of stratified_kfold, fold 0" in result.output
    result = call(*arguments, "--allow-seen")
    assert "have been seen by the model" in result.stderr


def test_calibrate_fits_to_the_validation_images_of_the_fold_of_training(noise, trained, tmp_path):
    fitted = tmp_path / "fitted.safetensors"
    said = call("calibrate", trained[0], "--data", noise, "--output", fitted).output
    assert f"Fitted on {EACH} faces of the split validation" in said
    named = call(
        "calibrate", trained[0], "--data", noise, "--output", tmp_path / "named.safetensors", "--fold", 0
    )
    assert said.splitlines()[-3:-1] == named.output.splitlines()[-3:-1]
    records = [
        read_metadata(tmp_path / name).record["calibration"]
        for name in ("fitted.safetensors", "named.safetensors")
    ]
    assert records[0] == records[1]
