"""`fer-attention calibrate`."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from fer_attention.classifiers import load_classifier
from fer_attention.cli import app
from fer_attention.data import FaceDataset
from fer_attention.emotions import FER2013
from fer_attention.models import read_metadata
from tests.support.datasets import write_fer2013_csv
from tests.support.tiny_runs import write_weights


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path / "w.safetensors", dtype=torch.float16)


@pytest.fixture
def data(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (80, 48, 48), dtype=np.uint8)
    splits = np.repeat(["public", "private"], 40)
    faces = FaceDataset(images, np.arange(80) % 7, np.arange(80).astype(str), splits, FER2013)
    monkeypatch.setattr("fer_attention.data.load_data", lambda path, **_: faces)
    return write_fer2013_csv(tmp_path / "fer2013.csv")  # of the layout, not the content


def test_the_fit_is_stored_in_the_file_and_the_weights_stay_the_same(weights, data):
    before = load_file(weights)
    result = run("calibrate", weights, "--data", data)
    assert result.exit_code == 0, result.output
    assert "Fitted on 40 faces of the split public" in result.stdout
    after = load_file(weights)
    assert before.keys() == after.keys()
    assert all(
        after[n].dtype == t.dtype and after[n].numpy().tobytes() == t.numpy().tobytes()
        for n, t in before.items()
    )
    metadata = read_metadata(weights)
    assert metadata.record["seed"] == 0
    assert (metadata.calibration.truth, metadata.calibration.n) == ("labels", 40)
    assert load_classifier(weights, device="cpu").calibration == metadata.calibration


def test_evaluate_reports_the_doubt_and_says_if_nothing_was_fitted(weights, data, tmp_path):
    before = run("evaluate", weights, "--data", data)
    assert "not calibrated" in before.stdout
    run("calibrate", weights, "--data", data, "--output", tmp_path / "new" / "fitted.safetensors")
    assert not read_metadata(weights).record.get("calibration")
    after = run(
        "evaluate", tmp_path / "new" / "fitted.safetensors", "--data", data, "--json", tmp_path / "r.json"
    )
    assert "not calibrated" not in after.stdout
    assert "doubt, all images" in after.stdout
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["calibration"]["split"] == "public"
    assert 0 <= record["doubt"]["all images"]["data's labels"]["coverage"] <= 1


def test_bundled_and_exported_models_are_not_overwritten(data):
    result = run("calibrate", "resnetv2_18_eca_elu.fer2013", "--data", data)
    assert result.exit_code == 2
    assert "--output" in result.stderr
    result = run("calibrate", "model.onnx", "--data", data)
    assert result.exit_code == 2
    assert "Calibrate the weights file" in result.stderr
