"""Warnings about training problems: overfitting and vanishing gradients."""

import pytest
import torch
from torch import nn

from fer_attention.training import Epoch
from fer_attention.training.diagnostics import overfitting_warning, relative_gradients, vanishing_warning


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


def test_overfitting_needs_rising_validation_and_falling_training_loss():
    falling = [2 - 0.1 * i for i in range(10)]
    rising = [1.5, 1.2, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35]
    assert "since epoch 3" in overfitting_warning(epochs(falling, rising))
    assert overfitting_warning(epochs(falling, falling)) is None
    assert overfitting_warning(epochs(falling[:6], rising[:6])) is None  # too early to tell
    assert overfitting_warning(epochs(falling[::-1], rising)) is None  # both rise: no overfitting


def test_layers_with_vanished_gradients_are_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    model(torch.randn(4, 8)).sum().backward()
    gradients = relative_gradients(model)
    assert list(gradients) == ["0", "2", "4"]
    assert gradients["4"] == pytest.approx(
        float(model[4].weight.grad.norm() / model[4].weight.detach().norm())
    )
    assert vanishing_warning([gradients, gradients]) is None
    model[0].weight.grad *= 1e-7
    vanished = relative_gradients(model)
    assert "vanishing gradients: 0 learn less" in vanishing_warning([vanished, vanished])
    # one epoch is not enough: layers before one that starts at zero learn late
    assert vanishing_warning([vanished]) is None
    assert vanishing_warning([vanished, gradients]) is None
    assert vanishing_warning([{**gradients, "2": 0.0}, vanished]) is None
