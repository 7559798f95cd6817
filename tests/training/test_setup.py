"""Setup of a run: start weights with other labels, and automatic precision."""

import json
from dataclasses import replace

import pytest
import torch

from fer_attention.emotions import FER2013, FERPLUS
from fer_attention.models import load_weights
from fer_attention.training import TrainingCallbacks, train
from fer_attention.training import precision as precision_of_runs
from fer_attention.training.setup import create_initial_model
from tests.support.tiny_runs import StoppedError, checkpoint_of, stop_at, stripes, tiny, untrained

pytestmark = pytest.mark.usefixtures("without_curves")


def started_from(path, labels, seed=0):
    config = tiny(weights=path, structure={}, seed=seed)
    return create_initial_model(
        config, replace(stripes(), label_names=labels, labels=stripes().labels % len(labels))
    )


def classifier_of(model):
    classifier = model.get_classifier()
    return classifier.weight.detach().flatten(1), classifier.bias.detach()


@pytest.mark.parametrize("architecture", ["resnetv2_18_eca_elu", "resnet18", "vgg11"])
def test_labels_in_another_order_permute_the_classifier(tmp_path, architecture):
    path = untrained(tmp_path / "start.safetensors", model=architecture)
    labels = (
        "neutral",
        "Surprise",
        "sadness",
        "happiness",
        "fear",
        "disgust",
        "anger",
    )  # FER2013's, reversed
    config = tiny(model=architecture, weights=path, structure={})
    model = create_initial_model(config, replace(stripes(), label_names=labels))
    assert model.labels == labels
    before, after = load_weights(path).eval(), model.eval()
    images = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(after(images), before(images).flip(1))


def test_shared_labels_keep_their_rows_of_the_classifier(tmp_path):
    path = untrained(tmp_path / "seven.safetensors")
    known = classifier_of(load_weights(path))
    models = [started_from(path, FERPLUS, seed=seed) for seed in (0, 1, 0)]
    weights, biases = zip(*map(classifier_of, models), strict=True)
    for new, name in enumerate(FERPLUS):
        if name == "contempt":
            assert not torch.equal(weights[0][new], weights[1][new])  # drawn by the seed
            assert all((weights[0][new] - row).abs().max() > 1e-3 for row in known[0])
        else:
            assert torch.equal(weights[0][new], known[0][FER2013.index(name)])
            assert torch.equal(biases[0][new], known[1][FER2013.index(name)])
    assert torch.equal(weights[0], weights[2])
    for name, value in load_weights(path).state_dict().items():
        if not name.startswith("head.fc"):
            assert torch.equal(models[0].state_dict()[name], value), name


def test_unrelated_labels_get_a_new_classifier(tmp_path):
    path = untrained(tmp_path / "seven.safetensors")
    labels = ("awe", "boredom", "pain")
    data = replace(stripes(), labels=stripes().labels % 3, label_names=labels)
    result = train(tiny(epochs=1, structure={}, weights=path), data, tmp_path / "run")
    model = load_weights(result.weights)
    assert model.labels == labels
    assert model.preprocessing == load_weights(path).preprocessing


@pytest.fixture
def fastest(monkeypatch):
    """Sets the precision that the device seems to be fastest in."""

    def choose(precision):
        monkeypatch.setattr(precision_of_runs, "fastest_precision", lambda config, device: precision)

    return choose


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_automatic_precision_trains_in_the_faster_type(tmp_path, fastest, precision):
    fastest(precision)
    train(tiny(precision="auto"), stripes(), tmp_path / "auto", device="cpu")
    train(tiny(precision=precision), stripes(), tmp_path / "set", device="cpu")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("auto", "set")]
    assert [result["environment"]["precision"] for result in results] == [precision, precision]
    weights = [checkpoint_of(tmp_path / name)["model"] for name in ("auto", "set")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_that_resumes_in_another_precision_warns(tmp_path, fastest):
    config = tiny(precision="auto", checkpoint_minutes=0)
    fastest("float32")
    with pytest.raises(StoppedError):
        train(config, stripes(), tmp_path, callbacks=stop_at(2, 2), device="cpu")
    fastest("bfloat16")
    texts = []
    train(config, stripes(), tmp_path, callbacks=TrainingCallbacks(on_warning=texts.append), device="cpu")
    (text,) = texts
    assert text == "the run started in float32 and resumes in bfloat16, which is faster here (precision=auto)"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["environment"]["precision"] == "float32 and bfloat16"
    train(config, stripes(), tmp_path, callbacks=TrainingCallbacks(on_warning=texts.append), device="cpu")
    assert len(texts) == 1  # a finished run does not warn again
