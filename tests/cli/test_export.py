import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from typer.testing import CliRunner

from fer_attention.classifiers import OnnxClassifier
from fer_attention.cli import app
from fer_attention.cli.export import _split_faces
from fer_attention.data import FaceDataset
from fer_attention.models import save_weights
from tests.support.exported_models import lively_model, noise_crops, torch_logits


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def model():
    model = lively_model(img_size=32, num_classes=2)
    model.labels = ("happy", "sad")
    return model


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    return save_weights(model, tmp_path_factory.mktemp("weights") / "mine.best.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve smooth pictures in folders, for training and for the test."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for label in ("happy", "sad"):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                coarse = Image.fromarray(rng.integers(0, 256, (4, 4), dtype=np.uint8))
                coarse.resize((32, 32)).save(folder / split / label / f"{number}.png")
    return folder


def test_a_weights_file_becomes_an_onnx_file_of_its_name(model, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(weights)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("mine.best.onnx\nONNX, opset 18, ")
    faces = noise_crops(model, 3)
    exported = OnnxClassifier(tmp_path / "mine.best.onnx")
    assert_allclose(exported.logits(faces), torch_logits(model, faces), atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.best.onnx"]


def test_a_weights_file_becomes_a_program(model, weights, tmp_path):
    result = run(weights, "--format", "program", "--output", tmp_path / "model.pt2")
    assert result.exit_code == 0, result.output
    assert "torch.export program" in result.output
    faces = noise_crops(model, 3)
    logits = torch.export.load(tmp_path / "model.pt2").module()(torch.from_numpy(faces))
    assert_allclose(logits, torch_logits(model, faces), atol=1e-4)


def test_int8_prints_size_time_and_accuracy_before_and_after(weights, data, tmp_path):
    result = run(weights, "--int8", "--calibration", data, "--output", tmp_path / "int8.onnx")
    assert result.exit_code == 0, result.output
    assert "calibrated on 8 faces" in result.output
    assert re.search(r"size +[\d,]+ -> [\d,]+ bytes", result.output)
    assert re.search(r"time +[\d.]+ -> [\d.]+ ms a face", result.output)
    assert len(re.findall(r"n = 4\)", result.output)) == 2
    assert "8 faces" in OnnxClassifier(tmp_path / "int8.onnx").metadata.record["quantization"]
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--int8"], "--calibration DATA"),
        (["--calibration", "."], "--int8"),
        (["--format", "program", "--int8"], "for --format onnx"),
        (["--format", "compiled", "--opset", "18"], "for --format onnx"),
        (["--output", "model.pt2"], "must end in .onnx"),
        (["--opset", "9"], "--opset is from 18 to"),
        (["--opset", "99"], "--opset is from 18 to"),
    ],
)
def test_options_that_do_not_fit_are_one_line_and_exit_code_2(weights, arguments, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(weights, *arguments)
    assert result.exit_code == 2
    assert why in result.output
    assert len(result.output.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def crops(*splits):
    count = len(splits)
    images = np.arange(count, dtype=np.uint8)[:, None, None] + np.zeros((count, 2, 2), np.uint8)
    names = np.array([str(number) for number in range(count)])
    return FaceDataset(images, np.zeros(count, np.int64), names, np.array(splits), ("happy",))


@pytest.mark.parametrize(
    ("splits", "split", "calibrated", "measured"),
    [
        ("train train private public", None, [0, 1], [2]),
        ("train train test public", None, [0, 1], [2]),
        ("train train private public", "public", [0, 1], [3]),
        ("train train train private", "train", 1, 2),
        ("all all all all", None, 2, 2),
        ("private public public", "public", 1, 1),
    ],
)
def test_no_face_serves_both_calibration_and_measurement(splits, split, calibrated, measured):
    parts = [list(part.images[:, 0, 0]) for part in _split_faces(crops(*splits.split()), split)]
    assert not set(parts[0]) & set(parts[1])
    for part, expected in zip(parts, (calibrated, measured), strict=True):
        assert (len(part) if isinstance(expected, int) else part) == expected


def test_data_that_cannot_be_split_is_an_error():
    with pytest.raises(ValueError, match="--split: dev, train"):
        _split_faces(crops("train", "dev"), None)
    with pytest.raises(ValueError, match="at least 2 faces.*got 1"):
        _split_faces(crops("all"), None)
