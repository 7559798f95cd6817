"""`fer-attention faces`, and the choice of a detector on the command line."""

import csv
import json
import signal

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention.cli import app
from tests.support.forked import python
from tests.support.live import wait_for


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def photos(tmp_path, astronaut):
    folder = tmp_path / "photos"
    for name in ("happy/one.jpg", "sad/two.jpg"):
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(astronaut[:300, 100:400]).save(folder / name)
    Image.new("RGB", (80, 60)).save(folder / "sad" / "wall.png")
    (folder / "notes.txt").write_text("text")
    return folder


def test_a_folder_becomes_crops_a_manifest_and_a_summary(photos, tmp_path):
    result = call("faces", photos, "--output", tmp_path / "crops", "--size", "48", "--grey")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "crops" / "happy" / "one.png") as crop:
        assert (crop.size, crop.mode) == ((48, 48), "L")
    assert "mtcnn found no face in 1 of 3 photos. Try another --detector" in result.stderr
    for line in ("images", "without a face", "wall.png", "other files", "notes.txt", "manifest.csv"):
        assert line in result.output


def test_options_reach_the_crops(photos, tmp_path):
    options = [
        "--align",
        "--scale",
        "1.4",
        "--missing",
        "whole",
        "--min-size",
        "9000",
        "--format",
        "parquet",
    ]
    result = call("faces", photos, "--output", tmp_path / "crops", *options)
    assert result.exit_code == 0, result.output
    assert "faces below the bounds" in result.output
    assert "is below 9000" in result.output
    assert sorted(path.name for path in (tmp_path / "crops").glob("[!.]*")) == ["manifest.parquet", "sad"]
    header = json.loads((tmp_path / "crops" / ".faces.jsonl").read_text().splitlines()[0])["options"]
    assert (header["rule.shape"], header["rule.scale"], header["missing"]) == ("aligned", 1.4, "whole")


def test_faces_on_their_side_become_upright_crops(photos, tmp_path):
    call("faces", photos, "--output", tmp_path / "upright", "--min-score", "0.999")
    for name in ("happy/one.jpg", "sad/two.jpg"):
        with Image.open(photos / name) as upright:
            upright.transpose(Image.Transpose.ROTATE_90).save(photos / name, quality=95)
    result = call("faces", photos, "--output", tmp_path / "turned", "--min-score", "0.999", "--rotations")
    assert result.exit_code == 0, result.output
    for name in ("happy/one.png", "sad/two.png"):
        crops = [np.asarray(Image.open(tmp_path / run / name)).astype(int) for run in ("upright", "turned")]
        assert np.abs(crops[0] - crops[1]).mean() < 8
    again = call("faces", photos, "--output", tmp_path / "turned", "--min-score", "0.999")
    assert "rotations was True and is False" in " ".join(again.output.split())


def test_damaged_images_end_the_run_or_are_listed_with_exit_code_1(photos, tmp_path):
    (photos / "happy" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    result = call("faces", photos, "--output", tmp_path / "crops")
    assert result.exit_code == 2
    assert "broken.jpg" in result.output
    assert "--on-error skip" in result.output
    result = call("faces", photos, "--output", tmp_path / "crops", "--on-error", "skip")  # goes on there
    assert result.exit_code == 1
    assert "1 images could not be read" in result.output
    with (tmp_path / "crops" / "manifest.csv").open(newline="") as file:
        reasons = {row["source"]: row["reason"] for row in csv.DictReader(file)}
    assert "happy/broken.jpg" in reasons["happy/broken.jpg"]


def test_a_source_without_images_points_to_the_video_command(photos, tmp_path):
    result = call("faces", photos / "notes.txt", "--output", tmp_path / "crops")
    assert result.exit_code == 1
    assert "fer-attention video" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detector", "mtcn"], "Did you mean 'mtcnn'"),
        (["--detector", "yolo"], "needs the file of a YOLO face model"),
        (["--detector", "yunet", "--detector-weights", "absent.onnx"], "There is no file 'absent.onnx'"),
        (["--detector-weights", "x.onnx"], "The detector 'mtcnn' takes no --detector-weights."),
        (["--align", "--shape", "box"], "contradict"),
        (["--shape", "round"], "Unknown crop shape 'round'"),
        (["--missing", "raise"], "no face in sad/wall.png"),
        (["--workers", "0"], "--workers is at least 1"),
        (["--device", "gpu"], "--device is auto, cpu, cuda"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(photos, tmp_path, options, message):
    result = call("faces", photos, "--output", tmp_path / "crops", *options)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_an_interrupted_command_says_how_to_resume(tmp_path, astronaut):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(150):
        Image.fromarray(astronaut[number % 9 : 200, 140:310]).save(photos / f"{number:03}.png")
    process = python("-m", "fer_attention.cli", "faces", photos, "--output", tmp_path / "crops")
    wait_for(lambda: list(tmp_path.glob("crops/[0-9]*.png")), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "the same command resumes from there" in " ".join(errors.split())
    assert "Traceback" not in errors
    before = len(list(tmp_path.glob("crops/[0-9]*.png")))
    assert before > 0
    assert call("faces", photos, "--output", tmp_path / "crops").exit_code == 0
    assert len(list(tmp_path.glob("crops/[0-9]*.png"))) == 150


@pytest.mark.data
@pytest.mark.parametrize(
    ("detector", "file"), [("yunet", "yunet_2026may.onnx"), ("yolo", "yolov8_lite_t_face.onnx")]
)
def test_expressions_can_be_recognised_with_every_detector(tmp_path, astronaut, shared_dir, detector, file):
    Image.fromarray(astronaut).save(tmp_path / "photo.png")
    weights = ["--detector-weights", shared_dir / "models" / file]
    arguments = ["predict", tmp_path / "photo.png", "--detector", detector, *weights]
    result = call(*arguments, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    [photo] = json.loads((tmp_path / "out.json").read_text())
    assert [face["emotion"] for face in photo["faces"]] == ["happy"]
    assert call(*arguments, "--min-score", "0.999").exit_code == 0


@pytest.mark.data
def test_cropped_faces_are_recognised_whole_as_evaluation_does(tmp_path, real_fer2013):
    from fer_attention.inference import predict_logits
    from fer_attention.models import bundled_path, load_weights
    from fer_attention.models.bundled import DEFAULT

    data = real_fer2013
    rows = np.flatnonzero(data.splits == "public")[:40]
    for row in rows:
        Image.fromarray(data.images[row]).save(tmp_path / f"{row:06}.png")
    assert call("predict", tmp_path, "--detector", "none", "--json", tmp_path / "out.json").exit_code == 0
    got = [photo["faces"][0]["emotion"] for photo in json.loads((tmp_path / "out.json").read_text())]
    model = load_weights(bundled_path(DEFAULT))
    inputs = model.preprocessing.normalize(model.preprocessing.prepare(data.images[rows]))
    logits = predict_logits(model.eval(), inputs)
    assert got == [model.labels[index] for index in logits.argmax(1)]
