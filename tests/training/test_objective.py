"""Objective of a run: labels, teachers, logit adjustment, and losses."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fer_attention.data import DataError
from fer_attention.emotions import FER2013, FERPLUS
from fer_attention.evaluation import predict_crops
from fer_attention.models import load_weights, save_weights
from fer_attention.training import TrainingStopped, objective, run, train
from fer_attention.training.objective import (
    create_loss,
    logit_adjustment_of,
    target_distributions,
    teacher_probabilities,
)
from tests.support.tiny_runs import assert_same, checkpoint_of, stripes, tiny, untrained

pytestmark = pytest.mark.usefixtures("without_curves")

CPU = torch.device("cpu")


def logits_of(model, crops):
    """Compute the logits of the images and their mirror images without the library's prediction."""
    model.eval()
    pixels = torch.from_numpy(crops.images)[:, None].float() / 255
    mean, std = model.preprocessing.mean[0], model.preprocessing.std[0]
    with torch.no_grad():
        return model((pixels - mean) / std), model((pixels.flip(-1) - mean) / std)


def test_several_teachers_are_averaged(tmp_path):
    data = stripes()
    teachers = [untrained(tmp_path / f"{seed}.safetensors", seed=seed) for seed in range(3)]
    single = [teacher_probabilities(path, data, device=CPU).double().numpy() for path in teachers]
    assert np.abs(single[0] - single[1]).max() > 0.1
    labels = np.eye(7)[data.labels]
    for share in (0.0, 0.3, 1.0):
        config = tiny(teachers=tuple(teachers), teacher_weight=share)
        targets = target_distributions(data, config, device=CPU)
        assert targets.dtype == torch.float32
        expected = (1 - share) * labels + share * np.mean(single, axis=0)
        np.testing.assert_allclose(targets.numpy(), expected, atol=1e-6)


def test_a_teachers_views_are_averaged_as_in_evaluation(tmp_path):
    data, path = stripes(), untrained(tmp_path / "teacher.safetensors")
    plain, flipped = logits_of(load_weights(path), data)
    assert (plain - flipped).abs().max() > 0.01
    for views, logits in (("none", plain), ("flip", (plain + flipped) / 2)):
        found = teacher_probabilities(path, data, views=views, device=CPU)
        torch.testing.assert_close(found, logits.softmax(1), rtol=1e-4, atol=1e-5)
        config = tiny(teachers=(path,), teacher_weight=1.0, teacher_views=views)
        torch.testing.assert_close(target_distributions(data, config, device=CPU), found)


def test_a_teacher_with_more_labels_is_renormalised(tmp_path):
    path = untrained(tmp_path / "eight.safetensors", labels=FERPLUS)
    found = teacher_probabilities(path, stripes(), views="none", device=CPU)
    columns = [FERPLUS.index(name) for name in FER2013]  # contempt is not among them
    logits, _ = logits_of(load_weights(path), stripes())
    # shares of a softmax among some classes are the softmax of their logits alone
    torch.testing.assert_close(found, logits[:, columns].softmax(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sum(1), torch.ones(len(found)))


def test_renormalisation_survives_near_certainty_of_a_missing_label(tmp_path):
    path = tmp_path / "sure.safetensors"
    model = load_weights(untrained(path, labels=FERPLUS))
    with torch.no_grad():
        model.get_classifier().bias[FERPLUS.index("contempt")] = 70
    save_weights(model, path)
    found = teacher_probabilities(str(path), stripes(), device=CPU)
    assert float(predict_crops(load_weights(path), stripes())[:, FERPLUS.index("contempt")].min()) == 1
    torch.testing.assert_close(found.sum(1), torch.ones(len(found)))


def test_a_teacher_with_fewer_labels_is_rejected(tmp_path):
    path = untrained(tmp_path / "seven.safetensors")
    data = replace(stripes(), label_names=FERPLUS)
    with pytest.raises(DataError, match="does not know contempt; it knows angry, disgust, fear"):
        train(tiny(teachers=(path,)), data, tmp_path / "run")
    others = replace(stripes(), label_names=("anger", "awe", "boredom", "joy", "sadness", "pain", "neutral"))
    with pytest.raises(DataError, match="does not know awe, boredom, pain; it knows"):
        teacher_probabilities(path, others, device=CPU)


def test_predictions_of_teachers_are_stored_in_the_checkpoint(tmp_path, monkeypatch):
    path = untrained(tmp_path / "teacher.safetensors")
    config = tiny(teachers=(path,), epochs=2)
    targets = target_distributions(stripes().split("train"), config, device=CPU)
    train(config, stripes(), tmp_path / "run")
    assert torch.equal(checkpoint_of(tmp_path / "run")["targets"], targets)

    def again(*arguments, **options):
        raise AssertionError("predicted again")

    monkeypatch.setattr(objective, "teacher_probabilities", again)
    train(config, stripes(), tmp_path / "run")


def imbalanced(counts=(20, 10, 6, 2, 5, 9, 12)):
    """Build a data set whose training classes are not equally frequent."""
    data = stripes(400)
    rows = np.concatenate(
        [
            np.flatnonzero((data.labels == label) & (data.splits == "train"))[:n]
            for label, n in enumerate(counts)
        ]
        + [np.flatnonzero(data.splits == "public")]
    )
    return data.take(rows)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_the_adjustment_is_tau_times_the_log_class_frequency(tau):
    generator = np.random.default_rng(0)
    targets = generator.dirichlet(np.ones(5), size=40)
    shift = logit_adjustment_of(torch.from_numpy(targets).float(), "abcde", tau)
    np.testing.assert_allclose(shift.numpy(), tau * np.log(targets.sum(0) / 40), atol=1e-6)


def test_adjustment_needs_images_of_every_label(tmp_path):
    data = imbalanced(counts=(20, 10, 6, 0, 5, 9, 12))
    message = "needs training images of every label; there are none of happy"
    with pytest.raises(DataError, match=message):
        train(tiny(logit_adjustment=1.0), data, tmp_path)
    assert logit_adjustment_of(torch.eye(3)[[0, 1]], "abc", 0.0).tolist() == [0, 0, 0]


def test_an_adjusted_loss_shifts_the_logits(tmp_path, monkeypatch):
    seen = []

    def spied(*arguments, **options):
        def loss(logits, targets):
            seen.append(logits.detach().clone())
            return F.cross_entropy(logits, targets)

        return loss

    monkeypatch.setattr(run, "create_loss", spied)
    for tau, folder in ((0.0, "plain"), (1.5, "adjusted")):
        config = tiny(epochs=1, logit_adjustment=tau, structure={**tiny().structure, "drop_rate": 0})
        train(config, imbalanced(), tmp_path / folder)
    steps = len(seen) // 2
    counts = np.bincount(imbalanced().split("train").labels, minlength=7)
    shift = torch.from_numpy(1.5 * np.log(counts / counts.sum())).float()
    torch.testing.assert_close(seen[steps], seen[0] + shift, rtol=1e-4, atol=1e-5)  # in the first step
    assert not torch.allclose(seen[-1], seen[steps - 1] + shift, atol=1e-3)  # later weights differ


def test_adjusted_weights_differ_in_the_bias_only(tmp_path):
    tau, data = 1.5, imbalanced()
    train(tiny(epochs=1), data, tmp_path / "plain")
    config = tiny(epochs=1, logit_adjustment=tau, adjust="weights")
    result = train(config, data, tmp_path / "adjusted")
    plain, adjusted = (checkpoint_of(tmp_path / name) for name in ("plain", "adjusted"))
    for part in ("model", "ema"):  # training itself does not change
        assert_same(plain[part], adjusted[part])
    averaged = load_weights(result.weights)
    averaged.load_state_dict({name.removeprefix("module."): value for name, value in plain["ema"].items()})
    selection = data.split("public")
    before, _ = logits_of(averaged, selection)
    counts = np.bincount(data.split("train").labels, minlength=7)
    shift = torch.from_numpy(tau * np.log(counts / counts.sum())).float()
    logits, _ = logits_of(load_weights(result.weights), selection)
    torch.testing.assert_close(logits, before - shift, rtol=1e-4, atol=1e-4)
    answers = logits.argmax(1).numpy()
    assert (answers != before.argmax(1).numpy()).any()
    assert result.best.validation_accuracy == np.mean(answers == selection.labels)


def test_a_run_can_be_stopped_while_teachers_predict(tmp_path, monkeypatch):
    monkeypatch.setattr(objective, "BLOCK", 16)
    path = untrained(tmp_path / "teacher.safetensors")
    asked = []

    def stop():
        asked.append(True)
        return len(asked) == 3

    with pytest.raises(TrainingStopped, match="while the teachers predicted"):
        train(tiny(teachers=(path,)), stripes(), tmp_path / "run", stop=stop)
    assert len(asked) == 3  # 64 images are four blocks
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    whole = teacher_probabilities(path, stripes(), device=CPU)
    monkeypatch.setattr(objective, "BLOCK", 1000)
    torch.testing.assert_close(teacher_probabilities(path, stripes(), device=CPU), whole)


LABELS = np.array([0, 0, 0, 1, 2, 2])


def loss_by_loops(name, logits, targets, weights, smoothing, gamma):
    """Compute the losses with loops over plain numbers."""
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        norm = sum(math.exp(x) for x in row)
        for x, t, w in zip(row, target, weights, strict=True):
            t = t * (1 - smoothing) + smoothing / len(row)
            p = math.exp(x) / norm
            sigmoid = 1 / (1 + math.exp(-x))
            total += {
                "cross_entropy": -w * t * math.log(p),
                "focal": -w * t * (1 - p) ** gamma * math.log(p),
                "generalised": w * t * (1 - p**0.4) / 0.4,
                "binary": -w * (t * math.log(sigmoid) + (1 - t) * math.log(1 - sigmoid)),
            }[name]
    return total / len(logits)


def test_generalised_loss_lies_between_cross_entropy_and_absolute_error():
    logits, targets = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), torch.eye(4).repeat(2, 1)

    def loss(**options):
        config = tiny(class_weights="none", label_smoothing=0.0, **options)
        return create_loss(config, LABELS, classes=4, device=CPU)(logits, targets).item()

    assert loss(loss="generalised", gce_q=1e-4) == pytest.approx(loss(loss="cross_entropy"), rel=1e-3)
    absolute = (targets - logits.softmax(1)).abs().sum(1).mean() / 2
    assert loss(loss="generalised", gce_q=1.0) == pytest.approx(absolute.item(), rel=1e-5)


def test_votes_are_targets_in_place_of_labels():
    data = stripes().take(np.arange(14))
    votes = np.zeros((14, 10), np.int64)
    votes[:, FERPLUS.index("happy")], votes[:, FERPLUS.index("sad")] = 6, 4
    votes[0] = 0  # nobody voted
    votes[1, :] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]  # not a face
    data = replace(data, votes=votes)
    found = target_distributions(data, tiny(targets="votes"), device=CPU).numpy()
    expected = np.zeros((14, 7))
    expected[:, FER2013.index("happy")], expected[:, FER2013.index("sad")] = 0.6, 0.4
    expected[:2] = np.eye(7)[data.labels[:2]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert data.fingerprint != replace(data, votes=votes[::-1]).fingerprint
    with pytest.raises(DataError, match="no votes"):
        target_distributions(stripes(), tiny(targets="votes"), device=CPU)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "binary", "generalised"])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_losses_agree_with_their_formula(name, class_weights):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator)
    targets = torch.rand(6, 4, generator=generator).softmax(1)
    config = tiny(loss=name, class_weights=class_weights, label_smoothing=0.2, focal_gamma=1.5, gce_q=0.4)
    loss = create_loss(config, LABELS, classes=4, device=CPU)(logits, targets)
    # balanced: n / (occurring classes × count); a class that does not occur has weight 0
    weights = [6 / (3 * 3), 6 / 3, 6 / (3 * 2), 0.0] if class_weights == "balanced" else [1.0] * 4
    assert loss.item() == pytest.approx(loss_by_loops(name, logits, targets, weights, 0.2, 1.5), rel=1e-5)
