import functools

import pytest
from torch import nn

from fer_attention.evaluation import complexity, paper_parameters
from fer_attention.models import build_model, create_model, list_models

# Millions of parameters as printed by Miskow and Altahhan 2022, all with ELU: none, SE, ECA, CBAM.
PAPER = {
    "vgg16": (39.92, 39.95, 39.92, 39.95),
    "vgg19": (42.87, 45.26, 45.23, 45.26),
    "resnet50": (23.49, 26.02, 23.65, 26.02),
    "resnet101": (42.46, 47.24, 42.81, 47.24),
    "resnet152": (58.08, 64.71, 58.60, 64.71),
    "resnetv2_50": (23.48, 26.01, 23.64, 26.01),
    "resnetv2_101": (42.44, 47.22, 42.79, 47.22),
    "resnetv2_152": (58.05, 64.68, 58.57, 64.69),
}
CELLS = [
    (f"{backbone}{suffix}_elu", count)
    for backbone, counts in PAPER.items()
    for suffix, count in zip(("", "_se", "_eca", "_cbam"), counts, strict=True)
]


@pytest.mark.parametrize(("name", "millions"), CELLS)
def test_parameter_counts_of_the_paper_follow_from_its_convention(name, millions):
    difference = paper_parameters(name) / 1e6 - millions
    if name == "vgg19_elu":  # printed 42.87 cannot be: its own ECA row, 5 k gate weights more, says 45.23
        assert difference == pytest.approx(2.36, abs=0.01)
    else:
        assert abs(difference) < 0.01


def test_complexity_counts_a_convolution_as_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8 * 4 * 5, 7))
    costs = complexity(model, (3, 8, 10))
    assert costs.parameters == (3 * 9 + 1) * 8 + (160 + 1) * 7
    assert costs.macs == 8 * 4 * 5 * 27 + 160 * 7
    assert costs.activations == 160 + 7


def test_complexity_of_resnet50_is_the_published_one():
    model = build_model("resnet50", in_chans=3, num_classes=1000, img_size=224, device="meta")
    costs = complexity(model)
    assert costs.parameters == 25_557_032  # torchvision's and timm's count
    assert costs.macs / 1e9 == pytest.approx(4.09, abs=0.01)
    assert costs.activations / 1e6 == pytest.approx(11.1, abs=0.05)


def test_complexity_leaves_no_trace_and_asks_for_a_size():
    model = build_model("resnet18", width=0.25).train()
    complexity(model)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="input_size"):
        complexity(nn.Linear(2, 2))


def test_eca_adds_its_kernels_only():
    plain = complexity(build_model("resnet18", device="meta")).parameters
    gated = complexity(build_model("resnet18", attention="eca", device="meta")).parameters
    assert gated - plain == 2 * (3 + 5 + 5 + 5)


@functools.cache
def plain_resnet18():
    return complexity(create_model("resnet18", device="meta"))


@pytest.mark.parametrize("name", list_models("resnet18*"))
def test_gates_cost_little_and_activations_nothing(name):
    plain, costs = plain_resnet18(), complexity(create_model(name, device="meta"))
    if name.removesuffix("_elu") == "resnet18":
        assert costs == plain
    else:
        assert 1 <= costs.parameters / plain.parameters < 1.02
        assert 1 <= costs.macs / plain.macs < 1.02
        assert (costs.parameters == plain.parameters) == ("simam" in name)
