"""Tests of the precision of a run."""

from __future__ import annotations

import pytest
import torch

from fer_attention.training import TrainConfig, TrainingError, precision
from fer_attention.training.precision import resolve_precision
from tests.support.tiny_runs import untrained

CPU = torch.device("cpu")
NARROW = {"width": 0.125, "img_size": 16}
"""Its last stage halves maps of 1×1."""


@pytest.fixture(autouse=True)
def fast_bfloat16(monkeypatch):
    monkeypatch.setattr(precision, "fastest_precision", lambda device: "bfloat16")


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (NARROW, "float32"),
        ({**NARROW, "img_size": 32}, "bfloat16"),
        ({**NARROW, "stem": "half"}, "bfloat16"),
        ({**NARROW, "img_size": (64, 16)}, "float32"),
    ],
)
def test_auto_avoids_bfloat16_where_images_are_narrower_than_a_stride(structure, expected):
    config = TrainConfig(model="resnetv2_18_eca_elu", structure=structure)
    assert resolve_precision(config, CPU) == expected
    assert resolve_precision(config, torch.device("cuda")) == "bfloat16"


def test_the_structure_of_start_weights_counts(tmp_path):
    config = TrainConfig(weights=untrained(tmp_path / "start.safetensors"), model="resnetv2_18_eca_elu")
    assert resolve_precision(config, CPU) == "float32"


def test_bfloat16_is_refused_there_with_the_layer():
    config = TrainConfig(model="resnet18", structure=NARROW, precision="bfloat16")
    with pytest.raises(TrainingError, match=r"wrong gradients for layer4\.0.*Use precision=float32"):
        resolve_precision(config, CPU)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_gradients_of_the_precisions_that_are_chosen_are_right(precision, layout, side):
    """PyTorch's own operators, so that a new release that computes wrongly is noticed."""
    if precision == "bfloat16" and side == 1:
        pytest.skip("refused by resolve_precision")
    torch.manual_seed(0)
    image = torch.randn(8, 32, side, side).contiguous(memory_format=layout)
    weight = torch.randn(64, 32, 3, 3, requires_grad=True)
    upstream = torch.randn(8, 64, (side + 1) // 2, (side + 1) // 2)
    exact = torch.ops.aten.convolution_backward(
        upstream.double(), image.double(), weight.double(), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1,
        [False, True, False],
    )[1]  # fmt: skip
    for _ in range(5):
        [torch.full((size,), float("nan")) for size in (64, 1024, 16384, 65536)]  # freed at once
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            out = torch.nn.functional.conv2d(image, weight, stride=2, padding=1)
        (gradient,) = torch.autograd.grad(out, weight, upstream.to(out.dtype))
        assert (gradient - exact).abs().max() < 0.02 * exact.abs().max()
