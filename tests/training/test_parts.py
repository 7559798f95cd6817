"""The parts of training on their own: augmentation, batches, losses, schedules, watching."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fer_attention.data import DEGRADATIONS, degrade
from fer_attention.preprocessing import Preprocessing
from fer_attention.training import Epoch
from fer_attention.training.augment import augmentation, mixing
from fer_attention.training.batches import Batches, epoch_order, measure_normalization
from fer_attention.training.config import AugmentConfig
from fer_attention.training.diagnostics import overfitting_warning, relative_gradients, vanishing_warning
from fer_attention.training.objective import create_loss
from fer_attention.training.optimisation import create_optimizer, create_schedule
from tests.support.tiny_runs import stripes, tiny

CPU = torch.device("cpu")


def test_augmentation_off_is_the_identity_and_on_is_per_sample():
    torch.manual_seed(0)
    images = torch.rand(1, 1, 16, 16).expand(8, 1, 16, 16).contiguous()
    assert torch.equal(augmentation(AugmentConfig(flip=0))(images), images)
    config = AugmentConfig(flip=0.5, rotate=20, crop=0.8, brightness=0.3, contrast=0.3, erase=0.5)
    changed = augmentation(config)(images)
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert len({sample.numpy().tobytes() for sample in changed}) == 8


def test_a_crop_shows_a_part_at_full_size():
    ramp = torch.linspace(0, 1, 32).expand(64, 1, 32, 32).contiguous()
    torch.manual_seed(0)
    cropped = augmentation(AugmentConfig(flip=0, crop=0.5))(ramp)
    assert cropped.shape == ramp.shape
    spread = cropped.amax((1, 2, 3)) - cropped.amin((1, 2, 3))
    assert spread.max() < 0.55
    assert spread.min() > 0.4
    assert cropped[:, 0, 0, 0].unique().numel() > 5  # the place is drawn per sample


def degraded(images, seed=0, **degrade):
    torch.manual_seed(seed)
    return augmentation(AugmentConfig(flip=0, degrade=degrade))(images)


def once(low, high=None, probability=1.0):
    return {"probability": probability, "low": low, "high": low if high is None else high}


def faces(count=64, size=16):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_no_image_is_degraded_with_probability_0_and_each_by_its_own_strength_with_1(name):
    low, high = {
        "blur": (0.5, 2), "eyes": (0.2, 0.6), "gamma": (1.5, 3), "jpeg": (5, 40), "lower_face": (0.2, 0.6),
        "noise": (5, 50), "resampling": (5, 12), "resolution": (5, 12),
    }[name]  # fmt: skip
    images = faces(1).expand(64, 1, 16, 16).contiguous()
    never = degraded(images, **{name: once(low, high, probability=0.0)})
    assert torch.equal(never, images)
    changed = degraded(images, **{name: once(low, high)})
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert all(not torch.equal(one, images[0]) for one in changed)
    assert len({one.numpy().tobytes() for one in changed}) >= 6  # as many as whole sides from 5 to 12
    assert torch.equal(changed, degraded(images, **{name: once(low, high)}))
    assert not torch.equal(changed, degraded(images, seed=1, **{name: once(low, high)}))


def test_a_probability_is_the_share_of_images_that_are_degraded():
    changed = degraded(faces(2000), gamma=once(3, probability=0.3))
    share = (changed != faces(2000)).flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 2000))


def test_degradations_are_applied_in_the_order_written():
    images = faces()
    gamma, blur = once(4.0), once(1.5)
    first = degrade(degrade(images, "gamma", 4.0), "blur", 1.5)
    second = degrade(degrade(images, "blur", 1.5), "gamma", 4.0)
    assert not torch.allclose(first, second, atol=1e-2)
    torch.testing.assert_close(degraded(images, gamma=gamma, blur=blur), first)
    torch.testing.assert_close(degraded(images, blur=blur, gamma=gamma), second)
    written = AugmentConfig(degrade={"gamma": gamma, "blur": blur})
    assert list(AugmentConfig.model_validate_json(written.model_dump_json()).degrade) == ["gamma", "blur"]


def test_degradations_come_after_all_other_changes_but_mixing():
    torch.manual_seed(3)
    images = faces()
    turned = augmentation(AugmentConfig(flip=0.5, rotate=20, crop=0.8))(images)
    torch.manual_seed(3)
    config = AugmentConfig(flip=0.5, rotate=20, crop=0.8, degrade={"resolution": once(6)})
    torch.testing.assert_close(augmentation(config)(images), degrade(turned.clamp(0, 1), "resolution", 6))


@pytest.mark.parametrize("config", [AugmentConfig(mixup=0.5), AugmentConfig(cutmix=0.5)])
def test_mixing_moves_images_and_targets_alike(config):
    torch.manual_seed(1)
    images = torch.stack([torch.full((1, 40, 40), float(i)) for i in range(4)])
    targets = torch.eye(4)
    mixed, distributions = mixing(config)(images, targets)
    assert torch.allclose(distributions.sum(1), torch.ones(4))
    shares = mixed.mean((1, 2, 3))
    expected = distributions @ torch.arange(4.0)
    assert torch.allclose(shares, expected, atol=1e-5)
    assert not torch.equal(distributions, targets)


def test_without_mixing_nothing_changes():
    images, targets = torch.rand(4, 1, 8, 8), torch.eye(4)
    assert mixing(AugmentConfig())(images, targets) == (images, targets)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 5), st.integers(0, 3))
def test_processes_share_each_step_without_overlap(processes, accumulate, epoch, start):
    data = stripes(80)
    config = tiny(batch_size=4, accumulate=accumulate)
    preprocessing = Preprocessing((16, 16), 1, mean=(0.0,), std=(1.0,))
    order = epoch_order(data.labels, config, epoch)
    assert sorted(order.tolist()) == list(range(80))
    seen = []
    for rank in range(processes):
        batches = Batches(
            data, config, preprocessing=preprocessing, device=CPU, rank=rank, processes=processes
        )
        steps = list(batches.epoch(epoch, start=min(start, batches.steps)))
        assert len(steps) == max(0, batches.steps - start)
        for passes in steps:
            assert len(passes) == accumulate
            for images, rows in passes:
                assert torch.equal(images[:, 0], torch.from_numpy(data.images)[rows])
                seen += rows.tolist()
    first = min(start, batches.steps) * batches.step_size
    assert sorted(seen) == sorted(order[first : batches.steps * batches.step_size].tolist())


def test_balanced_sampling_draws_every_class_equally():
    labels = np.repeat([0, 1, 3], [900, 90, 10])
    order = epoch_order(labels, tiny(sampling="balanced"), 1)
    counts = np.bincount(labels[order.numpy()], minlength=4)
    assert counts[2] == 0
    assert np.abs(counts[[0, 1, 3]] - 1000 / 3).max() < 5 * math.sqrt(1000 * 2 / 9)


def test_the_measured_moments_are_those_of_the_pixels():
    data = stripes(2500)
    found = measure_normalization(Preprocessing((16, 16), 1, mean=(0.0,), std=(1.0,)), data)
    pixels = data.images / 255
    assert found.mean == pytest.approx((pixels.mean(),), abs=1e-4)
    assert found.std == pytest.approx((pixels.std(),), abs=1e-4)


LABELS = np.array([0, 0, 0, 1, 2, 2])


def by_hand(name, logits, targets, weights, smoothing, gamma):
    """The losses written with loops over plain numbers."""
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
                "binary": -w * (t * math.log(sigmoid) + (1 - t) * math.log(1 - sigmoid)),
            }[name]
    return total / len(logits)


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "binary"])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_losses_agree_with_their_formula(name, class_weights):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator)
    targets = torch.rand(6, 4, generator=generator).softmax(1)
    config = tiny(loss=name, class_weights=class_weights, label_smoothing=0.2, focal_gamma=1.5)
    loss = create_loss(config, LABELS, classes=4, device=CPU)(logits, targets)
    # balanced: n / (classes that occur × count); the class that never occurs counts nothing
    weights = [6 / (3 * 3), 6 / 3, 6 / (3 * 2), 0.0] if class_weights == "balanced" else [1.0] * 4
    assert loss.item() == pytest.approx(by_hand(name, logits, targets, weights, 0.2, 1.5), rel=1e-5)


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "step", "plateau", "constant"])
@pytest.mark.parametrize("steps", [1, 7])
def test_schedules_rise_to_lr_and_do_not_rise_again(name, steps):
    model = nn.Linear(2, 2)
    config = tiny(schedule=name, epochs=20, warmup=0.25, decay_epochs=5, patience=3)
    optimizer = create_optimizer(model, config)
    schedule = create_schedule(optimizer, config, steps=steps)
    rates = []
    for _ in range(20):
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        schedule.epoch(1.0)
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(config.lr, rel=0.05)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    falls = {"one_cycle": 0.05, "cosine": 0.05, "step": 0.8, "plateau": 0.8, "constant": 1.0}
    assert rates[-1] <= falls[name] * config.lr
    if name not in ("plateau",):
        assert rates[0] < 0.1 * config.lr


def test_layer_decay_slows_the_lower_levels():
    from fer_attention import create_model  # noqa: PLC0415

    model = create_model("resnet18", width=0.125, stem="half", img_size=16)
    config = tiny(layer_decay=0.5, schedule="cosine", warmup=0)
    optimizer = create_optimizer(model, config)
    create_schedule(optimizer, config, steps=10)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    first, last = rate[id(model.conv1.weight)], rate[id(model.fc.weight)]
    assert last == pytest.approx(config.lr)
    assert first < 0.1 * last


def test_weight_decay_spares_norms_and_biases():
    from fer_attention import create_model  # noqa: PLC0415

    model = create_model("resnet18", width=0.125, stem="half", img_size=16)
    for group in create_optimizer(model, tiny()).param_groups:
        flat = {p.ndim <= 1 for p in group["params"]}
        assert flat == {group["weight_decay"] == 0}


def epochs(losses, validation):
    rest = dict.fromkeys(
        [
            "lr", "train_accuracy", "validation_accuracy", "validation_balanced_accuracy", "gradient_norm",
            "smallest_gradient", "images_per_second", "seconds",
        ],
        0.0,
    )  # fmt: skip
    return [
        Epoch(epoch=i, loss=loss, validation_loss=value, **rest)
        for i, (loss, value) in enumerate(zip(losses, validation, strict=True), start=1)
    ]


def test_overfitting_is_a_validation_loss_that_rises_while_training_falls():
    falling = [2 - 0.1 * i for i in range(10)]
    rising = [1.5, 1.2, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35]
    assert "since epoch 3" in overfitting_warning(epochs(falling, rising))
    assert overfitting_warning(epochs(falling, falling)) is None
    assert overfitting_warning(epochs(falling[:6], rising[:6])) is None  # too early to tell
    assert overfitting_warning(epochs(falling[::-1], rising)) is None  # both rise: no overfitting


def test_vanished_gradients_are_named_by_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    model(torch.randn(4, 8)).sum().backward()
    gradients = relative_gradients(model)
    assert list(gradients) == ["0", "2", "4"]
    assert gradients["4"] == pytest.approx(
        float(model[4].weight.grad.norm() / model[4].weight.detach().norm())
    )
    assert vanishing_warning(gradients) is None
    model[0].weight.grad *= 1e-7
    assert "vanishing gradients: 0 learn less" in vanishing_warning(relative_gradients(model))
