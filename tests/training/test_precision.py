"""Tests of the precision of a run."""

from __future__ import annotations

import itertools

import pytest
import torch

from fer_attention.models import ModelSpec
from fer_attention.training import TrainConfig, TrainingError, precision
from fer_attention.training.precision import fastest_precision, resolve_precision
from fer_attention.training.timing import step_timer
from tests.support.tiny_runs import untrained

CPU = torch.device("cpu")
NARROW = {"width": 0.125, "img_size": 16}
"""Its last stage halves maps of 1×1."""


@pytest.fixture
def fast_bfloat16(monkeypatch):
    monkeypatch.setattr(precision, "fastest_precision", lambda config, device: "bfloat16")


@pytest.fixture
def clock(monkeypatch):
    """Sets the seconds of a step in float32 and bfloat16, round by round, and lists the timed specs."""
    timed = []

    def set_times(*rounds):
        def step_timer(spec, **options):
            timed.append(spec)
            both = itertools.chain.from_iterable(itertools.cycle(rounds))
            return lambda dtype: next(both)

        monkeypatch.setattr(precision, "step_timer", step_timer)
        precision._fastest_precision.cache_clear()
        return timed

    yield set_times
    precision._fastest_precision.cache_clear()


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([(1.0, 0.5)], "bfloat16"),
        ([(1.0, 0.9)], "float32"),  # not worth the rounding
        ([(1.0, 10.0)], "float32"),
        ([(9.0, 9.0), (1.0, 9.0), (9.0, 0.5)], "bfloat16"),  # the fastest rounds count on a busy machine
        ([(9.0, 0.9), (1.0, 9.0)], "float32"),
    ],
)
def test_the_faster_precision_is_chosen(clock, rounds, expected):
    clock(*rounds)
    assert fastest_precision(TrainConfig(model="resnet18"), CPU) == expected


def test_variants_of_a_network_share_one_measured_precision(clock):
    timed = clock((1.0, 0.5))
    for model in ("resnetv2_18", "resnetv2_18_elu", "resnetv2_18_cbam_elu", "resnetv2_18_eca"):
        config = TrainConfig(model=model, gate_start="open", structure={"width": 0.25})
        assert resolve_precision(config, CPU) == "bfloat16"
    assert timed == [ModelSpec("resnetv2_18", width=0.25)]
    resolve_precision(TrainConfig(model="resnetv2_18", structure={"width": 0.5}), CPU)
    assert [spec.width for spec in timed] == [0.25, 0.5]


def test_the_network_of_the_run_is_timed_in_both_types():
    """On some processors a wide convolution is faster in bfloat16 and a narrow network slower."""
    seconds = step_timer(ModelSpec("resnet18", width=0.25), images=16, channels_last=True, device=CPU)
    random_state = torch.get_rng_state()
    with torch.no_grad():
        times = {dtype: min(seconds(dtype) for _ in range(4)) for dtype in (torch.float32, torch.bfloat16)}
    assert torch.equal(random_state, torch.get_rng_state())
    chosen = fastest_precision(TrainConfig(model="resnet18_cbam_elu", structure={"width": 0.25}), CPU)
    ratio = times[torch.float32] / times[torch.bfloat16]
    assert chosen == ("bfloat16" if ratio > precision.BFLOAT16_GAIN else "float32") or 0.8 < ratio < 1.6


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (NARROW, "float32"),
        ({**NARROW, "img_size": 32}, "bfloat16"),
        ({**NARROW, "stem": "half"}, "bfloat16"),
        ({**NARROW, "img_size": (64, 16)}, "float32"),
    ],
)
@pytest.mark.usefixtures("fast_bfloat16")
def test_auto_avoids_bfloat16_where_images_are_narrower_than_a_stride(structure, expected):
    config = TrainConfig(model="resnetv2_18_eca_elu", structure=structure)
    assert resolve_precision(config, CPU) == expected
    assert resolve_precision(config, torch.device("cuda")) == "bfloat16"


@pytest.mark.usefixtures("fast_bfloat16")
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
