"""Start of a run: weights with other labels, and the faster precision."""

import json
from dataclasses import replace

import pytest
import torch

from fer_attention import device
from fer_attention.emotions import FER2013, FERPLUS
from fer_attention.models import load_weights
from fer_attention.training import TrainingCallbacks, train
from fer_attention.training.setup import create_initial_model
from tests.support.tiny_runs import checkpoint_of, stripes, tiny, untrained

CPU = torch.device("cpu")


def started(path, labels, seed=0):
    config = tiny(weights=path, structure={}, seed=seed)
    return create_initial_model(
        config, replace(stripes(), label_names=labels, labels=stripes().labels % len(labels))
    )


def classifier_of(model):
    classifier = model.get_classifier()
    return classifier.weight.detach().flatten(1), classifier.bias.detach()


@pytest.mark.parametrize("architecture", ["resnetv2_18_eca_elu", "resnet18", "vgg11"])
def test_labels_in_another_order_move_the_classifier_with_them(tmp_path, architecture):
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


def test_what_is_known_of_shared_labels_is_kept_and_the_rest_is_new(tmp_path):
    path = untrained(tmp_path / "seven.safetensors")
    known = classifier_of(load_weights(path))
    models = [started(path, FERPLUS, seed=seed) for seed in (0, 1, 0)]
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


def test_labels_that_share_nothing_get_a_classifier_that_is_new(tmp_path):
    path = untrained(tmp_path / "seven.safetensors")
    labels = ("awe", "boredom", "pain")
    data = replace(stripes(), labels=stripes().labels % 3, label_names=labels)
    result = train(tiny(epochs=1, structure={}, weights=path), data, tmp_path / "run")
    model = load_weights(result.weights)
    assert model.labels == labels
    assert model.preprocessing == load_weights(path).preprocessing


@pytest.fixture
def clock(monkeypatch):
    """Sets how long float32 and bfloat16 take, in seconds, round by round."""

    def set_times(*rounds):
        times = {
            kind: iter([one[place] for one in rounds] * device.ROUNDS)
            for place, kind in enumerate((torch.float32, torch.bfloat16))
        }
        monkeypatch.setattr(device, "_training_time", lambda where, kind: next(times[kind]))
        device.fastest_precision.cache_clear()

    yield set_times
    device.fastest_precision.cache_clear()


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([(1.0, 0.5)], "bfloat16"),
        ([(1.0, 0.9)], "float32"),  # not worth its rounding
        ([(1.0, 10.0)], "float32"),
        ([(9.0, 9.0), (1.0, 9.0), (9.0, 0.5)], "bfloat16"),  # on a busy machine the best rounds count
        ([(9.0, 0.9), (1.0, 9.0)], "float32"),
    ],
)
def test_the_faster_type_is_taken_by_the_clock(clock, rounds, expected):
    clock(*rounds)
    assert device.fastest_precision(CPU) == expected
    assert device.fastest_precision(CPU) == expected  # measured once


def test_the_clock_measures_both_types_in_whatever_mode_the_caller_is():
    with torch.no_grad():
        times = [device._training_time(CPU, kind) for kind in (torch.float32, torch.bfloat16)]
    assert all(0 < time < 60 for time in times)


@pytest.mark.parametrize(("rounds", "taken"), [((1.0, 0.5), "bfloat16"), ((1.0, 2.0), "float32")])
def test_automatic_precision_trains_in_the_faster_type_and_says_which(tmp_path, clock, rounds, taken):
    clock(rounds)
    train(tiny(precision="auto"), stripes(), tmp_path / "auto", device="cpu")
    train(tiny(precision=taken), stripes(), tmp_path / "told", device="cpu")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("auto", "told")]
    assert [result["environment"]["precision"] for result in results] == [taken, taken]
    weights = [checkpoint_of(tmp_path / name)["model"] for name in ("auto", "told")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_that_continues_in_another_precision_says_so(tmp_path, clock):
    from tests.training.test_checkpoint import StoppedError, stop_at  # noqa: PLC0415

    config = tiny(precision="auto", checkpoint_minutes=0)
    clock((1.0, 2.0))
    with pytest.raises(StoppedError):
        train(config, stripes(), tmp_path, callbacks=stop_at(2, 2), device="cpu")
    clock((1.0, 0.5))
    texts = []
    train(config, stripes(), tmp_path, callbacks=TrainingCallbacks(on_warning=texts.append), device="cpu")
    (text,) = texts
    assert text == "the run began in float32 and continues in bfloat16, which is faster here (precision=auto)"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["environment"]["precision"] == "float32 and bfloat16"
    train(config, stripes(), tmp_path, callbacks=TrainingCallbacks(on_warning=texts.append), device="cpu")
    assert len(texts) == 1  # nothing is trained any more
