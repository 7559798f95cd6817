"""Where the attention block stands in each family, seen from outside by hooks."""

import pytest
import torch
from torch import nn

from fer_attention.activations import create_activation
from fer_attention.attention import ATTENTIONS, AttentionBlock
from fer_attention.elu import ELU
from fer_attention.models import BACKBONES, build_model
from tests.support.gates import awake


def pairs(first, *others):
    """One backbone with every block, the others with one that knows channels and positions."""
    return [(first, attention) for attention in ATTENTIONS] + [(other, "cbam") for other in others]


def faces():
    return torch.randn(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))


def small(backbone, attention, activation="relu", **structure):
    torch.manual_seed(0)
    return awake(build_model(backbone, attention=attention, activation=activation, width=0.25, **structure))


def slots(model):
    """Paths of the attention blocks; what is inside of one does not count."""
    gates = [path for path, module in model.named_modules() if isinstance(module, AttentionBlock)]
    return [path for path in gates if path.split(".")[-1] == "attn"]


def captured(model, paths, x):
    """Inputs and outputs of some modules in one evaluation."""
    seen = {}
    for path in paths:
        model.get_submodule(path).register_forward_hook(
            lambda m, i, o, path=path: seen.update({path: (i[0].detach().clone(), o.detach().clone())})
        )
    with torch.no_grad():
        model.eval()(x)
    return seen


@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize(("backbone", "attention"), pairs("resnet18", "resnet50"))
def test_resnet_gates_stand_before_the_sum_and_the_last_activation(backbone, attention, activation):
    model = small(backbone, attention, activation)
    norm = "bn3" if backbone == "resnet50" else "bn2"
    for path in [slot.removesuffix(".attn") for slot in slots(model)]:
        block = model.get_submodule(path)
        seen = captured(model, [path, f"{path}.attn", f"{path}.{norm}"], faces())
        (block_in, block_out), (gate_in, gate_out) = seen[path], seen[f"{path}.attn"]
        torch.testing.assert_close(gate_in, seen[f"{path}.{norm}"][1])
        with torch.no_grad():
            shortcut = block_in if block.downsample is None else block.downsample(block_in)
            expected = create_activation(activation)(gate_out + shortcut)
        torch.testing.assert_close(block_out, expected)


@pytest.mark.parametrize(("backbone", "attention"), pairs("resnetv2_18", "resnetv2_50"))
def test_resnetv2_gates_stand_before_the_sum_with_nothing_after_it(backbone, attention):
    model = small(backbone, attention, "elu")
    last = "conv3" if backbone == "resnetv2_50" else "conv2"
    for path in [slot.removesuffix(".attn") for slot in slots(model)]:
        block = model.get_submodule(path)
        seen = captured(model, [path, f"{path}.attn", f"{path}.{last}"], faces())
        (block_in, block_out), (gate_in, gate_out) = seen[path], seen[f"{path}.attn"]
        torch.testing.assert_close(gate_in, seen[f"{path}.{last}"][1])
        with torch.no_grad():
            activated = block.norm1(block_in.clone())
            shortcut = block_in if block.downsample is None else block.downsample(activated)
        torch.testing.assert_close(block_out, gate_out + shortcut)


@pytest.mark.parametrize("head", ["fc", "gap"])
@pytest.mark.parametrize(("backbone", "attention"), pairs("vgg11", "vgg11_bn"))
def test_the_vgg_gate_refines_the_last_map_and_is_added_to_it(backbone, head, attention):
    model = small(backbone, attention, head=head)
    assert slots(model) == ["attn"]
    seen = captured(model, ["features.0", "attn", "head"], faces())
    gate_in, gate_out = seen["attn"]
    with torch.no_grad():
        torch.testing.assert_close(gate_in, model.features(faces()))
        torch.testing.assert_close(model.forward_features(faces()), gate_in + gate_out)
        torch.testing.assert_close(model.pre_logits(gate_in + gate_out), seen["head"][0])


@pytest.mark.parametrize(
    ("backbone", "attention"),
    [*((b, "none") for b in BACKBONES), *pairs("resnet18", *(b for b in BACKBONES if b != "resnet18"))],
)
def test_elu_is_everywhere_except_in_the_gates(backbone, attention):
    elu, relu = (
        build_model(backbone, attention=attention, activation=activation, device="meta")
        for activation in ("elu", "relu")
    )
    gates = tuple(f"{path}." for path in slots(elu))
    outside, inside = {}, {}
    for path, module in elu.named_modules():
        (inside if path.startswith(gates) else outside)[path] = type(module)
    assert nn.ReLU not in outside.values()
    places = {path for path, module in relu.named_modules() if type(module) is nn.ReLU}
    assert {path for path, kind in outside.items() if kind is ELU} == places - set(inside)
    assert {path for path, kind in inside.items() if kind is nn.ReLU} == places & set(inside)
    assert ELU not in inside.values()
    assert elu.state_dict().keys() == relu.state_dict().keys()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_attention_options_reach_every_gate(backbone):
    model = small(backbone, "cbam", attention_options={"reduction": 8, "kernel_size": 3}, device="meta")
    for path in slots(model):
        block = model.get_submodule(path)
        assert block.channel.fc1.out_channels == block.channels // 8
        assert block.spatial.conv.kernel_size == (3, 3)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "resnet152"])
def test_the_stride_is_on_the_requested_convolution(backbone):
    for stride_on, strides in {None: (1, 2), "3x3": (1, 2), "1x1": (2, 1)}.items():
        model = build_model(backbone, stride_on=stride_on, device="meta")
        for stage in (model.layer2, model.layer3, model.layer4):
            assert (stage[0].conv1.stride[0], stage[0].conv2.stride[0]) == strides
            assert all(block.conv1.stride == block.conv2.stride == (1, 1) for block in stage[1:])
        assert {block.conv1.stride[0] * block.conv2.stride[0] for block in model.layer1} == {1}
        assert model(torch.empty(1, 1, 48, 48, device="meta")).shape == (1, 7)
