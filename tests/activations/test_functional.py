"""Activations that a model calls as functions, reported by `swap_activation`."""

import random
import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import fx, nn

from fer_attention.activations import swap_activation
from tests.support.gates import Gate, GatedNet


class FunctionalBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return F.relu(self.act(x)) + x.relu() + torch.relu_(x.clone())


class FunctionalNet(nn.Module):
    def __init__(self, untraceable=False):
        super().__init__()
        self.blocks = nn.ModuleList([FunctionalBlock(), nn.Sequential(nn.Linear(2, 2), FunctionalBlock())])
        self.gate = Gate()
        self.untraceable = untraceable

    def forward(self, x):
        x = F.elu(F.relu(x))
        if self.untraceable and x.sum() > 0:
            return x
        for block in self.blocks:
            x = block(x)
        return self.gate(x)


@pytest.mark.parametrize("untraceable", [False, True])
def test_calls_are_listed_in_one_warning_also_if_tracing_fails(untraceable):
    with pytest.warns(UserWarning, match="FunctionalNet also calls") as caught:
        assert swap_activation(FunctionalNet(untraceable), "elu") == 2
    assert len(caught) == 1
    message = str(caught[0].message)
    assert caught[0].filename == __file__
    assert "F.relu in FunctionalNet," in message
    for call in ("F.relu", "Tensor.relu", "torch.relu_"):
        assert f"{call} in blocks.0" in message
        assert f"{call} in blocks.1.1" in message
    assert "F.elu" not in message


def test_calls_in_the_densenet_of_torchvision_are_listed():
    with torch.device("meta"):
        model = torchvision.models.densenet121()
    with pytest.warns(UserWarning, match="F.relu in DenseNet"):
        swap_activation(model, "elu")


def test_calls_inside_gates_are_listed_with_scope_all_only():
    model = GatedNet()
    model.act, model.gate.act = nn.Sigmoid(), nn.Sigmoid()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        swap_activation(model, "hard_sigmoid", source=nn.Sigmoid)
    with pytest.warns(UserWarning, match="torch.sigmoid in gate"):
        swap_activation(model, "hard_sigmoid", source=nn.Sigmoid, scope="all")


@pytest.mark.parametrize(
    "name", ["celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu"]
)
def test_functions_match_their_classes(name):
    class Net(nn.Module):
        def forward(self, x):
            return getattr(F, name)(x)

    source = {"hardsigmoid": "hard_sigmoid", "hardswish": "hard_swish"}.get(name, name)
    with pytest.raises(ValueError, match=rf"calls functions, which cannot be replaced: F\.{name} in Net"):
        swap_activation(Net(), "relu", source=source)


class Touchy(nn.Module):
    """Forward code that writes state and draws random numbers."""

    def __init__(self):
        super().__init__()
        self.conv = timm.layers.BatchNormAct2d(3)
        self.register_buffer("calls", torch.zeros(()))
        self.last = None

    def forward(self, x):
        self.calls += 1
        self.last = x
        self.noise = torch.rand(1) + random.random()
        return self.conv(x)


def test_the_search_changes_neither_the_model_nor_the_random_state():
    model = nn.Sequential(Touchy(), nn.Linear(2, 2), nn.ReLU()).train()
    model[0].conv.drop.eval()
    modes = [module.training for module in model.modules()]
    seen = []
    for module in model.modules():
        module.register_forward_hook(lambda *_: seen.append("forward"))
        module.register_forward_pre_hook(lambda *_: seen.append("before"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate()
    swap_activation(model, "elu")
    assert not seen
    assert [module.training for module in model.modules()] == modes
    assert model[0].last is None
    assert not hasattr(model[0], "noise")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    torch.testing.assert_close(model.state_dict(), before)
    assert len(model[0]._forward_hooks) == 1


def test_a_net_that_can_be_traced_is_traced_once(monkeypatch):
    traced = []
    trace = fx.Tracer.trace
    monkeypatch.setattr(fx.Tracer, "trace", lambda *args: traced.append(args[1]) or trace(*args))
    with torch.device("meta"):
        model = torchvision.models.resnet152()
    assert swap_activation(model, "elu") == 51
    assert [type(root) for root in traced] == [torchvision.models.ResNet]
