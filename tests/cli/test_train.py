"""`fer-attention train`, from a folder of images to weights that the other commands take."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.emotions import FER2013
from fer_attention.models import read_metadata
from fer_attention.training import recipe_names
from tests.support.datasets import write_fer2013_csv, write_votes
from tests.support.tiny_runs import untrained

pytestmark = pytest.mark.usefixtures("without_curves")

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


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def run(*arguments):
    return call("train", "quick", *arguments, *FAST)


@pytest.mark.parametrize(
    ("splits", "words", "counts"),
    [
        (("train", "val", "test"), "", (20, 20)),
        (("train", "test"), "protocol holdout", (18, 2)),
        (("",), "protocol stratified_kfold, fold 0", (12, 4)),
    ],
)
def test_the_layout_of_a_folder_decides_the_protocol(tmp_path, splits, words, counts):
    data = write(tmp_path / "faces", splits)
    result = run("--data", data, "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert words in result.output
    assert "Best epoch 1 of 1" in result.output
    summary = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (summary["training_images"], summary["selection_images"]) == counts
    weights = tmp_path / "run" / "best.safetensors"
    assert read_metadata(weights).spec.num_classes == 2
    assert read_metadata(weights).record["config"]["epochs"] == 1
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
    assert "1 images were skipped, the first: train/sad/3.png" in result.output


def test_the_same_command_resumes_and_another_config_is_refused(tmp_path):
    data = write(tmp_path / "faces", ("train", "val", "test"))
    arguments = ["--data", data, "--output", tmp_path / "run"]
    assert run(*arguments).exit_code == 0
    assert len(list(csv.reader((tmp_path / "run" / "history.csv").open()))) == 2
    assert run(*arguments).exit_code == 0
    result = run(*arguments, "--set", "lr=0.3")
    assert result.exit_code == 2
    assert "lr was 0.1, is 0.3" in result.output


def write_voted(folder):
    """FER2013's table and FER+'s beside it: 28 images to train on, and 7 for each of the test splits."""
    usages = ("Training",) * 28 + ("PublicTest",) * 7 + ("PrivateTest",) * 7
    write_fer2013_csv(folder / "fer2013.csv", usages=usages)
    votes = np.zeros((42, 10), np.int64)
    votes[range(42), np.arange(42) % 8] = 7
    votes[range(42), (np.arange(42) + 1) % 8] = 3
    write_votes(folder / "fer2013new.csv", votes.tolist(), usages=usages)
    return folder


def targets_of(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["run"]["targets"].numpy()


@pytest.mark.parametrize("beside", [True, False])
def test_votes_are_trained_on_as_the_options_say(tmp_path, beside):
    data = write_voted(tmp_path / "voted")
    arguments = ["--data", data]
    if not beside:
        (tmp_path / "alone").mkdir()
        images = shutil.move(data / "fer2013.csv", tmp_path / "alone" / "fer2013.csv")
        arguments = ["--data", images, "--votes", data / "fer2013new.csv"]

    def trained(name, *options):
        result = run(*arguments, "--output", tmp_path / name, *options)
        assert result.exit_code == 0, result.output
        return read_metadata(tmp_path / name / "best.safetensors").spec.num_classes, targets_of(
            tmp_path / name
        )

    classes, targets = trained("shares", "--target", "distribution")
    assert classes == 8
    assert targets[0].tolist() == pytest.approx([0.7, 0.3, 0, 0, 0, 0, 0, 0])
    if not beside:
        assert trained("default")[1].tolist() == targets.tolist()
        return
    classes, targets = trained("majority", "--target", "majority")
    assert targets[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    classes, targets = trained("mixed", "--emotions", "fer2013", "--label-share", "0.5")
    assert classes == 7  # neutral and happy by 7 and 3 votes, angry by FER2013's label
    by_name = dict(zip(FER2013, targets[0].tolist(), strict=True))
    assert by_name == pytest.approx(
        {"neutral": 0.35, "happy": 0.15, "angry": 0.5, "disgust": 0, "fear": 0, "sad": 0, "surprise": 0}
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "majorty"], "Did you mean 'majority'"),
        (["--emotions", "ferpluss"], "Did you mean 'ferplus'"),
        (["--label-share", "1.5"], "--label-share must be between 0 and 1; got 1.5"),
        (["--votes", "nowhere.csv"], "nowhere.csv does not exist"),
        (
            ["--target", "majority", "--data-format", "jaffe"],
            "--target are for votes on FER2013; --data-format jaffe",
        ),
    ],
)
def test_wrong_options_of_votes_fail_before_anything_is_written(tmp_path, options, message):
    result = run("--data", write_voted(tmp_path / "voted"), "--output", tmp_path / "run", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()


def test_the_help_names_every_recipe():
    text = CliRunner().invoke(app, ["train", "--help"]).output
    assert all(name in text for name in recipe_names())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "epochs"], "--set takes field=value"),
        (["--set", "=3"], "--set takes field=value"),
        (["--set", "epochs=["], "--set epochs=[: the value is not valid YAML"),
        (["--set", "seed=x"], "seed: must be a valid integer; got 'x'"),
        (["--set", "augment=3", "--set", "augment.flip=0"], "augment has a value of its own"),
        (["--set", "epoch=3"], "No field 'epoch'. Did you mean 'epochs'"),
        (["--set", "lr=-1"], "lr: must be greater than 0; got -1"),
        (["--set", "teachers=x"], "teachers: must be a list; got 'x'"),
        (["--set", "patience="], "patience: must be a valid integer; got nothing"),
        (["--set", "patience=1.5"], "patience: must be a valid integer; got 1.5"),
        (["--set", "structure.widht=1"], "Unknown field of structure 'widht'. Did you mean 'width'"),
        (["--set", "structure.drop_rate=x"], "drop_rate is a probability from 0 to below 1, got 'x'"),
        (["--set", "structure.attention_options=3"], "attention_options is a mapping"),
        (["--model", "resnet18_cbma"], "Did you mean 'resnet18_cbam'"),
        (["--protocol", "losso"], "Did you mean 'loso'"),
        (["--protocol", "loso"], "needs subjects"),
        (["--fold", "1"], "official has folds 0 to 0, got fold 1"),
        (["--fraction", "0"], "above 0 and at most 1"),
        (["--data-format", "jaff"], "Did you mean 'jaffe'"),
    ],
)
def test_a_wrong_argument_fails_before_anything_is_written(tmp_path, arguments, message):
    data = write(tmp_path / "faces", ("train", "val", "test"))
    result = run("--data", data, "--output", tmp_path / "run", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "run").exists()


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
    data = ["--data", tmp_path / "data"]
    result = call("train", "compact", *data, "--output", tmp_path / "run", "--model", "resnet18_se", *options)
    assert result.exit_code == 0, result.output
    weights = tmp_path / "run" / "best.safetensors"
    assert str(weights) in result.stdout
    result = call("evaluate", weights, *data, "--json", tmp_path / "new" / "e.json")
    assert result.exit_code == 0, result.output
    numbers = json.loads((tmp_path / "new" / "e.json").read_text())
    assert numbers["results"]["all images"]["n"] == 16


@pytest.fixture
def unreadable(monkeypatch):
    """Fail when a data set is read."""
    monkeypatch.setattr("fer_attention.data.load_data", lambda *_, **__: pytest.fail("the data were read"))


def finish(folder):
    data = write(folder / "faces", ("train", "val", "test"))
    assert run("--data", data, "--output", folder / "run").exit_code == 0
    return data, folder / "run"


@pytest.fixture
def finished(tmp_path):
    return finish(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """Data and a finished run that no test changes."""
    return finish(tmp_path_factory.mktemp("unchanged"))


EARLY = [
    (["--set", "lr=0.3"], "contains a run of another config: lr was 0.1, is 0.3"),
    (["--set", "structure.num_classes=3"], "structure.num_classes is the number of emotions in the data"),
    (["--set", "structure.in_chans=2"], "structure.in_chans must be 1 (grey) or 3 (RGB); got 2"),
    (["--set", "precision=float16"], "float16 trains on GPUs only"),
    (["--set", "freeze=[stemm]"], "freeze: no submodule 'stemm'"),
    (["--set", "backbone_weights=absent.pth"], "absent.pth is not a file"),
    (["--set", "teachers=[absent.safetensors]"], "There is no weights file absent.safetensors"),
    (["--set", "focal_gamma=3"], "focal_gamma has no effect without loss=focal"),
    (["--set", "gce_q=0.5"], "gce_q has no effect without loss=generalised"),
    (["--set", "teacher_weight=0.9"], "teacher_weight has no effect without teachers"),
    (["--set", "patience=3"], "patience has no effect without schedule=plateau"),
    (["--protocol", "losso"], "Did you mean 'loso'"),
    (["--protocol", "absent.json"], "The protocol file absent.json does not exist"),
    (["--protocol", "holdout", "--fold", "1"], "holdout has fold 0 only, got fold 1"),
    (["--protocol", "stratified_kfold", "--fold", "5"], "stratified_kfold has folds 0 to 4, got fold 5"),
    (["--fraction", "1.5"], "fraction is above 0 and at most 1"),
]


@pytest.mark.parametrize(("arguments", "message"), EARLY)
def test_settings_are_checked_before_the_data_are_read(unchanged, unreadable, arguments, message):
    data, output = unchanged
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    result = run("--data", data, "--output", output, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_a_finished_run_says_so_without_reading_the_data(unchanged, unreadable):
    data, output = unchanged
    result = run("--data", data, "--output", output)
    assert result.exit_code == 0, result.output
    assert f"{output} contains this run, finished on these data; nothing was trained." in result.output
    assert "Best epoch 1 of 1" in result.output


@pytest.mark.parametrize("changed", ["replaced", "added", "fold", "fraction"])
def test_changed_data_of_a_finished_run_are_noticed(finished, changed):
    data, output = finished
    picture = data / "train" / "sad" / "3.png"
    times = picture.stat()
    if changed == "replaced":  # by another picture of the same time
        shutil.copyfile(data / "test" / "sad" / "3.png", picture)
        os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))
    if changed == "added":
        shutil.copyfile(picture, picture.with_name("new.png"))
    options = {"fold": ["--protocol", "holdout"], "fraction": ["--fraction", "0.5"]}
    result = run("--data", data, "--output", output, *options.get(changed, []))
    assert result.exit_code == 2
    assert "contains a run on other data" in result.output


@pytest.mark.parametrize("role", ["weights", "teachers"])
def test_replaced_weights_are_noticed_before_the_data_are_read(tmp_path, monkeypatch, role):
    data = write(tmp_path / "faces", ("train", "val", "test"))
    start = untrained(tmp_path / "start.safetensors", seed=0)
    value = start if role == "weights" else f"[{start}]"
    fields = ("epochs=1", "batch_size=8", "trackers=[]", f"{role}={value}")
    arguments = ["train", "quick", "--data", data, "--output", tmp_path / "run", "--device", "cpu"]
    arguments += [word for field in fields for word in ("--set", field)]
    first = call(*arguments)
    assert first.exit_code == 0, first.output
    monkeypatch.setattr("fer_attention.data.load_data", lambda *_, **__: pytest.fail("the data were read"))
    assert "nothing was trained" in call(*arguments).output
    untrained(tmp_path / "start.safetensors", seed=1)
    result = call(*arguments)
    assert result.exit_code == 2
    assert "with other content; the file has changed since" in " ".join(result.output.split())


def test_a_folder_is_read_in_the_size_and_colours_of_the_model(tmp_path, monkeypatch):
    data, shapes = write(tmp_path / "faces", ("train", "val", "test")), []
    from fer_attention import training  # noqa: PLC0415

    real = training.train
    monkeypatch.setattr(
        training,
        "train",
        lambda config, crops, *a, **k: shapes.append(crops.images.shape) or real(config, crops, *a, **k),
    )
    colour = ["--set", "structure.in_chans=3", "--set", "structure.img_size=24"]
    result = call("train", "quick", "--data", data, "--output", tmp_path / "run", *FAST, *colour)
    assert result.exit_code == 0, result.output
    assert shapes == [(60, 24, 24, 3)]
    measured = call("evaluate", tmp_path / "run" / "best.safetensors", "--data", data, "--split", "train")
    assert "These are the training images themselves." in measured.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "tset"], "No split 'tset': the data format folder gives all, train, validation, public"),
        (["--protocol", "losso"], "Did you mean 'loso'"),
        (["--protocol", "holdout", "--fold", "3"], "holdout has fold 0 only, got fold 3"),
        (["--protocol", "holdout", "--split", "public"], "No split 'public': a protocol gives train"),
        (["--votes", "absent.csv"], "absent.csv does not exist"),
        (["--degrade", "blurr:2"], "Did you mean 'blur'"),
        (["--tta", "flipp"], "Did you mean 'flip'"),
    ],
)
def test_wrong_options_of_evaluate_fail_before_reading(tmp_path, unreadable, arguments, message):
    data = write(tmp_path / "faces", ("train", "val", "test"))
    result = call("evaluate", "resnetv2_18_eca_elu.fer2013", "--data", data, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_finished_run_is_shown_by_its_epochs_and_curves(tmp_path, monkeypatch):
    monkeypatch.undo()  # so that the curves are drawn
    data, output = finish(tmp_path)
    result = run("--data", data, "--output", output)
    for heading in ("first", "best: 1", "last: 1", "curve", "balanced accuracy"):
        assert heading in result.output
    with Image.open(output / "curves.png") as picture:
        assert picture.size[0] > 1000
    assert f"fer-attention evaluate {output / 'best.safetensors'} --data {data}" in result.output


def test_a_run_is_extended_with_its_settings_weights_and_fold(tmp_path):
    data = write(tmp_path / "faces", ("",))
    folds = tmp_path / "folds.json"
    made = ["--protocol", "stratified_kfold", "--folds", "4", "--seed", "7", "--output", folds]
    assert call("data", "split", data, *made).exit_code == 0
    first = run("--data", data, "--output", tmp_path / "first", "--protocol", folds, "--fold", "2")
    assert first.exit_code == 0, first.output
    arguments = ["train", tmp_path / "first", "--data", data, "--device", "cpu"]
    more = [*arguments, "--output", tmp_path / "more", "--set", "epochs=2", "--set", "lr=0.01"]
    result = call(*more)
    assert result.exit_code == 0, result.output
    assert "protocol stratified_kfold, fold 2" in result.output
    assert "warning" not in result.stderr
    config = json.loads((tmp_path / "more" / "config.json").read_text())
    assert (config["epochs"], config["lr"], config["batch_size"]) == (2, 0.01, 8)
    assert config["weights"] == str(tmp_path / "first" / "best.safetensors")
    records = [read_metadata(tmp_path / name / "best.safetensors").record for name in ("first", "more")]
    assert records[0]["division"] == records[1]["division"]
    assert records[0]["division"] == {
        "protocol": "stratified_kfold",
        "fold": 2,
        "seed": 7,
        "options": {"folds": 4},
    }
    assert "nothing was trained" in call(*more).output
    result = call(*arguments, "--output", tmp_path / "other", "--protocol", folds)
    assert result.exit_code == 0, result.output
    assert "images that select the epoch trained the start weights or a teacher" in result.stderr
    result = call(*more, "--model", "resnet18")
    assert result.exit_code == 2
    assert "fixes model; extend it without" in result.output
