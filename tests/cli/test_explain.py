"""`fer-attention explain`."""

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fer_attention import build_model
from fer_attention.cli import app
from fer_attention.emotions import FER2013
from fer_attention.models import save_weights
from fer_attention.preprocessing import Preprocessing


@pytest.fixture
def photo(tmp_path, astronaut):
    path = tmp_path / "photo.png"
    Image.fromarray(np.asarray(astronaut)).save(path)
    return path


def explain(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments), "--device", "cpu"])


def weights(path, attention):
    torch.manual_seed(0)
    model = build_model("resnet18", attention=attention, width=0.25, stem="half")
    model.labels, model.preprocessing = FER2013, Preprocessing()
    save_weights(model, path)
    return path


def test_a_photo_becomes_a_panel(photo, tmp_path):
    result = explain(photo, "--output", tmp_path / "new" / "panel.png")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("face 1: happy")
    assert Image.open(tmp_path / "new" / "panel.png").width > 1000


def test_several_weights_are_compared_on_one_face(photo, tmp_path):
    files = [weights(tmp_path / f"{name}.safetensors", name) for name in ("none", "cbam")]
    options = [part for file in files for part in ("--weights", file)]
    result = explain(photo, "--output", tmp_path / "panel.png", "--target", "sad", *options)
    assert result.exit_code == 0, result.stderr
    first, second, *_ = result.stdout.splitlines()
    assert first.startswith("resnet18: ")
    assert second.startswith("resnet18_cbam: ")


def test_weights_of_one_architecture_are_named_as_given(photo, tmp_path):
    files = [weights(tmp_path / f"{name}.safetensors", "se") for name in ("first", "second")]
    options = [part for file in files for part in ("--weights", file)]
    result = explain(photo, "--output", tmp_path / "panel.png", "--attention", *options)
    assert result.exit_code == 0, result.stderr
    for file, line in zip(files, result.stdout.splitlines(), strict=False):
        assert line.startswith(f"{file}: ")


def test_no_face_is_exit_code_1_and_no_file(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    result = explain(tmp_path / "black.png", "--output", tmp_path / "panel.png")
    assert result.exit_code == 1
    assert "No face found" in result.stderr
    assert not (tmp_path / "panel.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--face", "2"], "has 1 face."),
        (["--target", "hapy"], "Did you mean 'happy'"),
        (["--method", "gradcamm"], "Did you mean 'gradcam'"),
        (["--output", "panel.jpg"], "Name it panel.png"),
        (["--layer", "stages.9"], "Unknown layer"),
    ],
)
def test_impossible_options_end_in_one_line(photo, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = explain(photo, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png"]


def test_the_photo_is_not_written_over(photo):
    before = photo.read_bytes()
    result = explain(photo, "--output", photo)
    assert result.exit_code == 2
    assert "is the photo itself" in result.stderr
    assert photo.read_bytes() == before
