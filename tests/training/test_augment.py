"""Augmentation on the device: per-sample changes, degradations, and mixing."""

import math

import pytest
import torch

from fer_attention.data import DEGRADATIONS, degrade
from fer_attention.training import AugmentConfig
from fer_attention.training.augment import augmentation, mixing


def test_augmentation_differs_by_sample_and_can_be_disabled():
    torch.manual_seed(0)
    images = torch.rand(1, 1, 16, 16).expand(8, 1, 16, 16).contiguous()
    assert torch.equal(augmentation(AugmentConfig(flip=0))(images), images)
    config = AugmentConfig(flip=0.5, rotate=20, crop=0.8, brightness=0.3, contrast=0.3, erase=0.5)
    changed = augmentation(config)(images)
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert len({sample.numpy().tobytes() for sample in changed}) == 8


def test_a_crop_is_enlarged_to_full_size():
    ramp = torch.linspace(0, 1, 32).expand(64, 1, 32, 32).contiguous()
    torch.manual_seed(0)
    cropped = augmentation(AugmentConfig(flip=0, crop=0.5))(ramp)
    assert cropped.shape == ramp.shape
    spread = cropped.amax((1, 2, 3)) - cropped.amin((1, 2, 3))
    assert spread.max() < 0.55
    assert spread.min() > 0.4
    assert cropped[:, 0, 0, 0].unique().numel() > 5  # the position is drawn per sample


def degraded(images, seed=0, **degrade):
    torch.manual_seed(seed)
    return augmentation(AugmentConfig(flip=0, degrade=degrade))(images)


def degradation(low, high=None, probability=1.0):
    return {"probability": probability, "low": low, "high": low if high is None else high}


def faces(count=64, size=16):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_degradations_draw_a_strength_per_image(name):
    low, high = {
        "blur": (0.5, 2), "eyes": (0.2, 0.6), "gamma": (1.5, 3), "jpeg": (5, 40), "lower_face": (0.2, 0.6),
        "noise": (5, 50), "resampling": (5, 12), "resolution": (5, 12), "pixelate": (5, 12),
        "motion_blur": (3, 9), "contrast": (0.2, 0.8), "brightness": (0.1, 0.4), "rotation": (10, 60),
        "scale": (1.2, 2),
    }[name]  # fmt: skip
    images = faces(1).expand(64, 1, 16, 16).contiguous()
    never = degraded(images, **{name: degradation(low, high, probability=0.0)})
    assert torch.equal(never, images)
    changed = degraded(images, **{name: degradation(low, high)})
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert all(not torch.equal(one, images[0]) for one in changed)
    assert (
        len({one.numpy().tobytes() for one in changed}) >= 6
    )  # resampling has at least six whole sides from 5 to 12
    assert torch.equal(changed, degraded(images, **{name: degradation(low, high)}))
    assert not torch.equal(changed, degraded(images, seed=1, **{name: degradation(low, high)}))


def test_the_probability_is_the_share_of_degraded_images():
    changed = degraded(faces(2000), gamma=degradation(3, probability=0.3))
    share = (changed != faces(2000)).flatten(1).any(1).float().mean().item()
    assert share == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 2000))


def test_degradations_are_applied_in_the_given_order():
    images = faces()
    gamma, blur = degradation(4.0), degradation(1.5)
    first = degrade(degrade(images, "gamma", 4.0), "blur", 1.5)
    second = degrade(degrade(images, "blur", 1.5), "gamma", 4.0)
    assert not torch.allclose(first, second, atol=1e-2)
    torch.testing.assert_close(degraded(images, gamma=gamma, blur=blur), first)
    torch.testing.assert_close(degraded(images, blur=blur, gamma=gamma), second)
    written = AugmentConfig(degrade={"gamma": gamma, "blur": blur})
    assert list(AugmentConfig.model_validate_json(written.model_dump_json()).degrade) == ["gamma", "blur"]


def test_degradations_follow_geometric_changes():
    torch.manual_seed(3)
    images = faces()
    turned = augmentation(AugmentConfig(flip=0.5, rotate=20, crop=0.8))(images)
    torch.manual_seed(3)
    config = AugmentConfig(flip=0.5, rotate=20, crop=0.8, degrade={"resolution": degradation(6)})
    torch.testing.assert_close(augmentation(config)(images), degrade(turned.clamp(0, 1), "resolution", 6))


@pytest.mark.parametrize("config", [AugmentConfig(mixup=0.5), AugmentConfig(cutmix=0.5)])
def test_mixing_changes_images_and_targets_alike(config):
    torch.manual_seed(1)
    images = torch.stack([torch.full((1, 40, 40), float(i)) for i in range(4)])
    targets = torch.eye(4)
    mixed, distributions = mixing(config)(images, targets)
    assert torch.allclose(distributions.sum(1), torch.ones(4))
    shares = mixed.mean((1, 2, 3))
    expected = distributions @ torch.arange(4.0)
    assert torch.allclose(shares, expected, atol=1e-5)
    assert not torch.equal(distributions, targets)


def test_mixing_is_off_by_default():
    images, targets = torch.rand(4, 1, 8, 8), torch.eye(4)
    assert mixing(AugmentConfig())(images, targets) == (images, targets)
