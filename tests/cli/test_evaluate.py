import json
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.data import FaceDataset, load_fer2013
from fer_attention.emotions import FER2013, FERPLUS
from fer_attention.evaluation import ALL, NEW
from fer_attention.inference import predict_logits
from fer_attention.models import create_model, load_weights, read_metadata, save_weights
from fer_attention.models.bundled import weights_path
from fer_attention.preprocessing import Preprocessing
from tests.support.datasets import write_fer2013_csv, write_votes
from tests.support.tiny_runs import write_weights

pytestmark = pytest.mark.usefixtures("without_curves")


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path / "w.safetensors")


def faces(*, names=FER2013, splits=("train", "public", "private"), each=14):
    """Random faces, of which the first two of the last split are copies of the first two of all."""
    generator = np.random.default_rng(0)
    n = each * len(splits)
    images = generator.integers(0, 256, (n, 48, 48), dtype=np.uint8)
    images[-each : -each + 2] = images[:2]
    labels = np.arange(n) % len(names)
    return FaceDataset(images, labels, np.arange(n).astype(str), np.repeat(splits, each), tuple(names))


@pytest.fixture
def run(weights, tmp_path, monkeypatch):
    """`fer-attention evaluate` on crops in memory: the result and the JSON."""

    def call(crops, *options):
        monkeypatch.setattr("fer_attention.data.load_data", lambda path, **options: crops)
        file = tmp_path / "new" / "r.json"
        data = ["--data", tmp_path / "faces", "--data-format", "fer2013"]
        arguments = ["evaluate", weights, *data, "--json", file, *options]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
        return result, json.loads(file.read_text()) if file.is_file() else None

    return call


def test_measures_with_and_without_copies_and_writes_both_files(run, tmp_path):
    result, record = run(faces(), "--html", tmp_path / "deep" / "r.html", "--tta", "flip")
    assert result.exit_code == 0, result.output
    assert (record["split"], record["tta"], record["model"]) == ("private", "flip", "resnet18_se")
    assert (record["results"][ALL]["n"], record["results"][NEW]["n"]) == (14, 12)
    assert record["record"] == {"seed": 0}
    assert "2 of the 14 images" in result.stdout
    for said in ("balanced", "macro-F1", "ECE", "surprise"):
        assert said in result.stdout
    assert "w.safetensors" in (tmp_path / "deep" / "r.html").read_text()


def test_measures_corruptions_and_refuses_options_that_do_not_fit(run):
    result, record = run(faces(), "--corruptions", "--sample", "5")
    assert result.exit_code == 0, result.output
    assert "motion_blur" in result.stdout
    assert "Split private, 5 images, seed 0." in result.stdout
    assert (record["weights"], record["n"], len(record["corruptions"])) == ("w.safetensors", 5, 11)
    refused, _ = run(faces(), "--corruptions", "--tta", "flip")
    assert refused.exit_code == 2
    assert "--corruptions goes with neither" in refused.stderr


def test_matches_labels_in_any_order_and_spelling(run):
    crops = faces()
    names = ("Happiness", "sad", "anger", "neutral", "FEAR", "surprise", "disgust")
    order = np.array([2, 6, 4, 0, 1, 5, 3])  # where each of FER2013's labels went
    renamed = FaceDataset(crops.images, order[crops.labels], crops.names, crops.splits, names)
    assert run(renamed)[1]["results"] == run(crops)[1]["results"]


def test_labels_that_are_not_emotions_are_refused_or_left_out(run):
    crops = faces(names=(*FER2013, "awe"), each=16)
    result, record = run(crops)
    assert result.exit_code == 2
    assert record is None
    assert "awe (images: 2)" in result.stderr
    assert "--drop-unknown-labels" in result.stderr
    result, record = run(crops, "--drop-unknown-labels")
    assert record["dropped"] == {"awe": 2}
    assert record["n"] == 14
    assert "Left out: 2 images labelled awe" in result.stdout
    assert run(faces(names=("contempt", "awe")), "--drop-unknown-labels")[0].exit_code == 2


def test_emotions_that_the_model_lacks_are_left_out_and_counted(run):
    result, record = run(faces(names=(*FER2013, "contempt"), each=16))
    assert result.exit_code == 0, result.output
    assert (record["dropped"], record["n"]) == ({"contempt": 2}, 14)
    assert "Left out: 2 images labelled contempt, which is not among the answers." in result.stdout


def test_answers_that_the_data_lacks_are_left_out_with_their_effect(run):
    crops = faces(names=("sad", "Happiness", "angry"), each=15)
    result, record = run(crops)
    assert result.exit_code == 0, result.output
    assert record["labels"] == ["angry", "happy", "sad"]
    [note] = [note for note in record["notes"] if "With all of its labels" in note]
    assert note.startswith(
        "The model answers with angry, happy, sad only, without disgust, fear, surprise, neutral."
    )
    _, free = run(crops, "--emotions", "all")
    assert free["labels"] == list(FER2013)
    assert f"its accuracy is {free['results'][ALL]['accuracy']:.2%} (95 % interval" in note
    assert free["results"][ALL]["accuracy"] <= record["results"][ALL]["accuracy"]
    low, high = record["results"][ALL]["balanced_interval_95"]
    assert low < record["results"][ALL]["balanced_accuracy"] < high
    nothing = run(faces(names=("sad", "awe")))[0]
    assert "fewer than two are the same" in nothing.stderr


@pytest.mark.parametrize(
    ("splits", "chosen", "results"),
    [
        (("train", "test"), "test", 2),
        (("all",), "all", 1),
        (("public", "test"), "test", 1),
        (("test", "private"), "private", 1),
    ],
)
def test_chooses_the_test_split(run, splits, chosen, results):
    _, record = run(faces(splits=splits))
    assert record["split"] == chosen
    assert len(record["results"]) == results


def test_lists_the_splits_if_none_is_for_testing(run):
    result, _ = run(faces(splits=("train", "validation")))
    assert result.exit_code == 2
    assert "train, validation" in result.stderr
    _, record = run(faces(splits=("train", "validation")), "--split", "train")
    assert list(record["results"]) == [ALL]


def test_explains_wrong_options_before_reading(run):
    result, _ = run(None, "--tta", "ten-corp")
    assert result.exit_code == 2
    assert "Did you mean 'ten-crop'" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--emotions", "ferpluss"], "Did you mean 'ferplus'"),
        (["--degrade", "blurr:2"], "Did you mean 'blur'"),
        (["--degrade", "blur"], "NAME:STRENGTH, such as noise:20; got 'blur'"),
        (["--degrade", "jpeg:0"], "The strength of jpeg is 1 to 100 (quality), got 0"),
    ],
)
def test_explains_wrong_degradations_and_label_sets_early(run, options, said):
    result, _ = run(None, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_votes_make_the_labels_of_the_format_ferplus(weights, tmp_path):
    data = write_fer2013_csv(tmp_path / "data" / "fer2013.csv", usages=["Training", *["PrivateTest"] * 3])
    votes = np.zeros((4, 10), dtype=int)
    votes[:, FERPLUS.index("happy")] = 10
    table = write_votes(tmp_path / "fer2013new.csv", votes, usages=["Training", *["PrivateTest"] * 3])
    arguments = ("evaluate", weights, "--data", data, "--votes", table, "--data-format", "ferplus")
    result = CliRunner().invoke(app, [*map(str, arguments), "--json", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.output
    classes = json.loads((tmp_path / "r.json").read_text())["results"][ALL]["classes"]
    assert {found["label"]: found["support"] for found in classes if found["support"]} == {"happy": 3}


def test_with_votes_reports_the_agreement_with_people(run, monkeypatch, tmp_path):
    crops, table = faces(), tmp_path / "votes.csv"
    table.touch()
    votes = np.zeros((len(crops), 10), dtype=np.int64)
    votes[:, FERPLUS.index("happy")] = 7
    votes[:, FERPLUS.index("sad")] = 3
    with_votes = "fer_attention.data.with_votes"
    monkeypatch.setattr(with_votes, lambda data, table, *, on_error: replace(data, votes=votes))
    result, record = run(crops, "--votes", table)
    assert result.exit_code == 0, result.output
    answered_happy = sum(row[FER2013.index("happy")] for row in record["results"][ALL]["confusion_matrix"])
    for level in ("majority", "plurality", "6 votes or more"):
        assert record["crowd"][ALL]["levels"][level]["n"] == 14
        assert record["crowd"][ALL]["levels"][level]["correct"] == answered_happy
        assert record["crowd"][NEW]["levels"][level]["n"] == 12  # without the two copies
        assert level in result.stdout
    assert "8 votes or more" not in record["crowd"][ALL]["levels"]
    assert (
        record["crowd"][ALL]["data_labels_on_plurality"]["correct"] == 2
    )  # two of fourteen are labelled happy
    assert run(crops)[1]["crowd"] == {}


def test_restricts_the_answers_to_a_label_set(run, weights, tmp_path):
    model = load_weights(weights)
    eight = create_model("resnet18_se", width=0.25, stem="half", num_classes=8)
    eight.load_state_dict(
        {**eight.state_dict(), **{k: v for k, v in model.state_dict().items() if not k.startswith("fc.")}}
    )
    with torch.no_grad():  # its last class, contempt, always wins
        eight.fc.weight[:7], eight.fc.bias[:7] = model.fc.weight, model.fc.bias
        eight.fc.weight[7], eight.fc.bias[7] = 0, 100
    eight.labels, eight.preprocessing = (*FER2013, "contempt"), Preprocessing()
    save_weights(eight, weights, record={"seed": 0})
    _, record = run(faces(), "--emotions", "all")
    assert record["results"][ALL]["accuracy"] == 0
    _, seven = run(faces(), "--emotions", "fer2013")
    save_weights(model, weights, record={"seed": 0})
    _, expected = run(faces())
    assert seven["labels"] == list(FER2013)
    np.testing.assert_allclose(
        seven["results"][ALL]["negative_log_likelihood"],
        expected["results"][ALL]["negative_log_likelihood"],
        rtol=1e-5,
    )
    assert seven["results"][ALL]["confusion_matrix"] == expected["results"][ALL]["confusion_matrix"]
    assert any("answers with" in note for note in seven["notes"])


def test_degrades_and_samples_by_seed_and_reports_it(run):
    _, plain = run(faces())
    _, noisy = run(faces(), "--degrade", "noise:40", "--degrade", "blur:1", "--seed", "3")
    _, again = run(faces(), "--degrade", "noise:40", "--degrade", "blur:1", "--seed", "3")
    assert noisy["results"] == again["results"] != plain["results"]
    assert "The images were degraded first: noise 40, blur 1, seed 3." in noisy["notes"]
    assert any("2 of the 14 images are" in note for note in noisy["notes"])  # before they were degraded
    result, sampled = run(faces(), "--sample", "5", "--seed", "1")
    assert sampled["n"] == 5
    assert "5 images of the split were drawn, seed 1." in result.stdout


@pytest.mark.data
@pytest.mark.slow
def test_the_printed_numbers_agree_with_scikit_learn_on_saved_predictions(shared_dir, tmp_path):
    data = shared_dir / "data" / "fer2013.zip"
    path = weights_path("resnetv2_18_eca_elu.fer2013")
    model, chosen = load_weights(path), load_fer2013(data).split("private")
    inputs = model.preprocessing.normalize(model.preprocessing.prepare(chosen.images))
    np.save(tmp_path / "logits.npy", predict_logits(model, inputs).numpy())
    logits = torch.from_numpy(np.load(tmp_path / "logits.npy")).double()
    answered, labels = logits.argmax(1).numpy(), chosen.labels
    arguments = ["evaluate", path, "--data", data, "--device", "cpu", "--json", tmp_path / "r.json"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    for score in (
        reference.accuracy_score(labels, answered),
        reference.balanced_accuracy_score(labels, answered),
        reference.f1_score(labels, answered, average="macro"),
        *reference.recall_score(labels, answered, average=None),
        *reference.precision_score(labels, answered, average=None),
    ):
        assert f"{score:.2%}" in result.stdout
    found = json.loads((tmp_path / "r.json").read_text())["results"][ALL]
    temperature = read_metadata(path).calibration.temperature
    loss = reference.log_loss(labels, (logits / temperature).softmax(1).numpy())
    assert found["negative_log_likelihood"] == pytest.approx(loss, abs=1e-6)  # of the prepared copy
    assert found["confusion_matrix"] == reference.confusion_matrix(labels, answered).tolist()
