import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fer_attention
from fer_attention.cli import app
from fer_attention.models import list_models, list_pretrained


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def photo(astronaut, tmp_path):
    path = tmp_path / "photos" / "one" / "collins.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.asarray(astronaut)).save(path)
    return path


def test_predict_writes_table_json_and_picture(photo, tmp_path):
    result = run("predict", photo, "--output", tmp_path / "out", "--json", tmp_path / "out" / "r.json")
    assert result.exit_code == 0, result.output
    assert "happy" in result.stdout
    [record] = json.loads((tmp_path / "out" / "r.json").read_text())
    assert (record["image"], record["width"], record["height"]) == (str(photo), 512, 512)
    [face] = record["faces"]
    assert set(face) == {"box", "score", "landmarks", "emotion", "probabilities"}
    assert face["emotion"] == "happy"
    with Image.open(tmp_path / "out" / "collins.png") as annotated:
        assert annotated.size == (512, 512)
        assert np.asarray(annotated.convert("RGB")).tolist() != np.asarray(Image.open(photo)).tolist()


def test_predict_ends_at_a_bad_file_or_reports_it_and_ends_with_1(photo, tmp_path):
    broken = tmp_path / "photos" / "broken.png"
    broken.write_bytes(photo.read_bytes()[:20_000])
    missing = tmp_path / "missing.jpg"
    result = run("predict", photo, broken, missing, "--json", tmp_path / "first.json")
    assert result.exit_code == 2
    assert "broken.png" in result.stderr
    assert "--on-error skip" in result.stderr
    assert [record["image"] for record in json.loads((tmp_path / "first.json").read_text())] == [str(photo)]
    result = run("predict", broken, missing, photo, "--json", tmp_path / "r.json", "--on-error", "skip")
    assert result.exit_code == 1
    for path in (broken, missing):
        assert path.name in result.stderr
    assert "2 of 3 photos could not be read" in result.stderr
    assert [record["image"] for record in json.loads((tmp_path / "r.json").read_text())] == [str(photo)]


def test_predict_takes_folders_and_never_writes_over_anything(photo, tmp_path):
    twin = tmp_path / "photos" / "two" / "collins.png"
    twin.parent.mkdir()
    twin.write_bytes(photo.read_bytes())
    before = photo.read_bytes()
    result = run("predict", tmp_path / "photos", "--output", photo.parent)
    assert result.exit_code == 0, result.output
    assert photo.read_bytes() == before
    assert sorted(file.name for file in photo.parent.iterdir()) == [
        "collins.png",
        "collins_2.png",
        "collins_3.png",
    ]


def test_predict_says_where_no_face_is(tmp_path):
    Image.new("RGB", (80, 60), "white").save(tmp_path / "wall.png")
    result = run("predict", tmp_path / "wall.png", "--json", tmp_path / "r.json")
    assert result.exit_code == 0
    assert "none found" in result.stdout
    assert json.loads((tmp_path / "r.json").read_text())[0]["faces"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "mtcn"], "Did you mean 'mtcnn'"),
        (["--device", "gpu"], "'gpu'"),
        (["--weights", "resnet50"], "resnetv2_18_eca_elu.fer2013"),
    ],
)
def test_predict_explains_wrong_options_in_one_line(photo, arguments, message):
    result = run("predict", photo, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_predict_of_an_empty_folder_is_an_error(tmp_path):
    result = run("predict", tmp_path)
    assert result.exit_code == 2
    assert "contains no image file" in result.stderr


def test_models_prints_every_match_with_its_costs():
    result = run("models", "resnet18*")
    assert result.exit_code == 0
    rows = [line for line in result.stdout.splitlines() if "resnet18" in line]
    assert len(rows) == len(list_models("resnet18*"))
    assert all(re.search(r"11\.\d\d", row) for row in rows)


def test_models_knows_unlisted_activations_and_suggests_for_typos():
    assert "resnet18_se_gelu" in run("models", "resnet18_se_gelu").stdout
    result = run("models", "resnet18_sa")
    assert result.exit_code == 2
    assert "Did you mean 'resnet18_s" in result.stderr


def test_models_pretrained_says_what_comes_with_weights_and_how_good_it_is():
    result = run("models", "--pretrained")
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    for model in list_pretrained():
        assert model.name in shown
        assert model.sha256 in shown.replace(" ", "").replace("│", "")
        assert f"{model.crowd_accuracy.value:.1%}" in shown
        assert f"{model.size / 1e6:.2f} MB" in shown
    assert "the default of predict" in shown
    only = run("models", "*.fer2013", "--pretrained").stdout
    assert "resnetv2_18_eca_elu.fer2013" in only
    assert "resnetv2_18_eca_elu.ferplus" not in only
    wrong = run("models", "resnetv2_18_eca_elu.fer2012", "--pretrained")
    assert wrong.exit_code == 2
    assert "Did you mean 'resnetv2_18_eca_elu.fer2013'" in wrong.stderr


def test_version_and_help():
    assert run("--version").stdout.strip() == fer_attention.__version__
    for command in ("predict", "models", "train", "evaluate"):
        assert command in run("--help").stdout


def test_train_and_evaluate_run_from_a_folder_of_images(tmp_path):
    generator = np.random.default_rng(0)
    for folder, prefix in (("train", "Training"), ("test", "PublicTest"), ("test", "PrivateTest")):
        for emotion in ("happy", "sad"):
            (tmp_path / "data" / folder / emotion).mkdir(parents=True, exist_ok=True)
            for number in range(8):
                pixels = generator.integers(0, 256, (48, 48), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / folder / emotion / f"{prefix}_{number}.png")
    sets = ["epochs=1", "batch_size=8", "structure.width=0.25", "structure.stem=half", "augment.erase=0"]
    options = [option for setting in sets for option in ("--set", setting)]
    result = run(
        "train", "compact", "--data", tmp_path / "data", "--output", tmp_path / "run",
        "--model", "resnet18_se", *options,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    weights = tmp_path / "run" / "best.safetensors"
    assert str(weights) in result.stdout
    result = run("evaluate", weights, "--data", tmp_path / "data", "--json", tmp_path / "new" / "e.json")
    assert result.exit_code == 0, result.output
    numbers = json.loads((tmp_path / "new" / "e.json").read_text())
    assert numbers["results"]["all images"]["n"] == 16
    result = run(
        "train", "compact", "--data", tmp_path / "data", "--output", tmp_path / "run", "--set", "epochs"
    )
    assert result.exit_code == 2
    assert "field=value" in result.stderr
