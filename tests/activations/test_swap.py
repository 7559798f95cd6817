import dataclasses
import random
import time
import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from fer_attention.activations import swap_activation
from fer_attention.registry import UnknownNameError


class Gate(nn.Module):
    is_attention_gate = True

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return x * torch.sigmoid(self.act(x))


class GatedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.act = nn.ReLU()
        self.gate = Gate()

    def forward(self, x):
        return self.gate(self.act(self.conv(x)))


@dataclasses.dataclass(frozen=True)
class Spec:
    activation: str = "relu"
    width: float = 1.0


def types(model):
    return [type(module) for module in model.modules()]


@pytest.fixture
def specified():
    model = GatedNet()
    model.spec = Spec(width=0.5)
    return model


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (torchvision.models.resnet18, 9),  # one module per block, called twice, and the stem's
        (lambda: timm.create_model("resnet18"), 17),
        (lambda: timm.create_model("resnetv2_18"), 17),  # inside BatchNormAct2d
    ],
    ids=["torchvision resnet18", "timm resnet18", "timm resnetv2_18"],
)
def test_every_relu_of_a_resnet_is_exchanged_without_a_warning(build, count):
    model = build().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert swap_activation(model, "elu") == count
    assert types(model).count(nn.ELU) == count
    assert nn.ReLU not in types(model)
    assert model(torch.randn(1, 3, 32, 32)).isfinite().all()


def test_the_exchanged_model_computes_with_the_new_activation():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    x = torch.randn(4, 3)
    swap_activation(model, "elu")
    torch.testing.assert_close(model(x), model[2](F.elu(model[0](x))))


@pytest.mark.parametrize(
    ("name", "gate", "backbone", "gated"),
    [
        ("seresnet18", "se", 17, 8),
        ("ecaresnet26t", "se", 27, 0),  # ECA has no activation but its sigmoid
        ("legacy_seresnet18", "se_module", 9, 8),
        ("skresnet18", "attn", 25, 8),
        ("resnest14d", "conv2", 11, 8),  # convolution and gate are one module there
    ],
)
def test_gates_of_timm_keep_their_activations_unless_scope_is_all(name, gate, backbone, gated):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert swap_activation(model, "elu") == backbone
    left = [path for path, module in model.named_modules() if isinstance(module, nn.ReLU)]
    assert len(left) == gated
    assert all(path.split(".")[-2] == gate for path in left)
    if gated:
        assert swap_activation(model, "elu", scope="all") == gated


def test_gates_of_torchvision_keep_their_activations():
    model = torchvision.models.mobilenet_v3_small()
    inside = types(model.features[1].block[1]).count(nn.ReLU)
    swap_activation(model, "elu")
    assert inside == 1
    assert types(model.features[1].block[1]).count(nn.ReLU) == 1


def test_gates_are_known_by_their_attribute():
    model = GatedNet()
    assert swap_activation(model, "elu") == 1
    assert isinstance(model.gate.act, nn.ReLU)
    assert swap_activation(model, "elu", scope="all") == 1
    assert isinstance(model.gate.act, nn.ELU)


def test_an_instance_shared_under_several_names_stays_shared_and_counts_once():
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()), nn.ModuleDict({"a": shared, "b": shared}))
    assert swap_activation(model, "prelu") == 2
    new = model[0]
    assert isinstance(new, nn.PReLU)
    assert model[1][0] is model[2]["a"] is model[2]["b"] is new
    assert model[1][1] is not new


def test_an_instance_that_a_gate_shares_is_exchanged_outside_the_gate_only():
    model = GatedNet()
    model.gate.act = old = model.act
    assert swap_activation(model, "elu") == 1
    assert isinstance(model.act, nn.ELU)
    assert model.gate.act is old


def test_a_block_that_hangs_at_two_places_is_exchanged_once():
    block = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert swap_activation(nn.Sequential(block, block), "elu") == 1


def test_inplace_and_training_mode_are_taken_over():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.ReLU(), nn.ReLU(inplace=True).eval())
    swap_activation(model, nn.ELU)
    assert [module.inplace for module in model] == [True, False, True]
    assert [module.training for module in model] == [True, True, False]
    assert swap_activation(model, "tanh", source="elu") == 3  # which cannot work in place


def test_a_new_parameter_has_the_device_and_type_of_the_weights_beside_it():
    model = nn.Sequential(nn.Linear(2, 2, dtype=torch.float64), nn.Sequential(nn.ReLU()))
    model.append(nn.Sequential(nn.Linear(2, 2, device="meta", dtype=torch.bfloat16), nn.ReLU()))
    swap_activation(model, "prelu")
    assert model[1][0].weight.dtype == torch.float64
    assert (model[2][1].weight.dtype, model[2][1].weight.device.type) == (torch.bfloat16, "meta")


def test_each_place_gets_a_module_of_its_own_from_a_factory():
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    assert swap_activation(model, lambda: nn.ELU(alpha=0.5)) == 2
    assert [module.alpha for module in model] == [0.5, 0.5]
    assert model[0] is not model[1]


def test_a_new_activation_may_contain_the_old_kind():
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    assert swap_activation(model, lambda: nn.Sequential(nn.ReLU(), nn.Tanh())) == 2
    assert types(model).count(nn.ReLU) == 2


def test_a_class_matches_exactly_and_a_name_means_timm_s_class_too():
    class OwnReLU(nn.ReLU): ...

    model = nn.Sequential(OwnReLU(), nn.ReLU(), nn.ReLU6(), nn.GELU(), timm.layers.get_act_layer("gelu")())
    with pytest.warns(UserWarning, match="F.relu in 0"):
        assert swap_activation(model, "elu") == 1
    assert swap_activation(model, "elu", source=("gelu", nn.ReLU6)) == 3
    assert [type(m) for m in model] == [OwnReLU, nn.ELU, nn.ELU, nn.ELU, nn.ELU]
    assert swap_activation(model, "relu", source=OwnReLU) == 1


def test_nothing_to_exchange_is_an_error_that_says_what_there_is():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ELU(), nn.ELU(), nn.Tanh(), nn.Identity())
    with pytest.raises(ValueError, match=r"Sequential has no ReLU outside .* It has: 2 ELU, 1 Tanh\.$"):
        swap_activation(model, "silu")
    with pytest.raises(ValueError, match=r"no LeakyReLU or ReLU\. It has: 2 ELU"):
        swap_activation(model, "silu", source=(nn.ReLU, "leaky_relu"), scope="all")
    with pytest.raises(ValueError, match="source is empty"):
        swap_activation(model, "silu", source=())
    with pytest.raises(ValueError, match="no activation modules"):
        swap_activation(nn.Linear(1, 1), "silu")


def test_nothing_to_exchange_outside_gates_points_to_scope_all():
    with pytest.raises(ValueError, match="scope='all'"):
        swap_activation(Gate(), "elu")


def test_the_root_cannot_be_exchanged_in_place():
    with pytest.raises(ValueError, match="itself a ReLU"):
        swap_activation(nn.ReLU(), "elu")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"to": "elo"}, UnknownNameError, "Did you mean 'elu'"),
        ({"to": "elu", "source": "rellu"}, UnknownNameError, "Did you mean 'relu'"),
        ({"to": "elu", "scope": "gates"}, ValueError, "'gates': 'backbone' .* 'all'"),
        ({"to": nn.ELU()}, TypeError, "fresh module"),
        ({"to": 3}, TypeError, "got 3"),
        ({"to": lambda: nn.ELU}, TypeError, "must make modules"),
        ({"to": "elu", "source": nn.ReLU()}, TypeError, "source must be a class"),
    ],
)
def test_bad_arguments_are_refused_and_leave_the_model_as_it_was(arguments, error, message):
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    before = list(model)
    with pytest.raises(error, match=message):
        swap_activation(model, **arguments)
    assert list(model) == before


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
def test_functional_calls_are_named_in_one_warning_also_where_the_model_cannot_be_traced(untraceable):
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


def test_functional_calls_in_torchvision_s_densenet_are_named():
    with torch.device("meta"):
        model = torchvision.models.densenet121()
    with pytest.warns(UserWarning, match="F.relu in DenseNet"):
        swap_activation(model, "elu")


def test_functional_calls_inside_gates_count_with_scope_all_only():
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
def test_functions_are_matched_with_their_classes(name):
    class Net(nn.Module):
        def forward(self, x):
            return getattr(F, name)(x)

    source = {"hardsigmoid": "hard_sigmoid", "hardswish": "hard_swish"}.get(name, name)
    with pytest.raises(ValueError, match=rf"calls functions, which cannot be exchanged: F\.{name} in Net"):
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


def test_the_search_for_functional_calls_leaves_no_trace_in_the_model_and_the_random_state():
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


def test_a_deep_net_is_exchanged_within_seconds():
    with torch.device("meta"):
        model = torchvision.models.resnet152()
    start = time.perf_counter()
    assert swap_activation(model, "elu") == 51
    assert time.perf_counter() - start < 5


def test_the_spec_of_a_model_follows(specified):
    swap_activation(specified, "elu")
    assert specified.spec == Spec(activation="elu", width=0.5)
    swap_activation(specified, nn.SiLU, source="elu")
    assert specified.spec.activation == "silu"


@pytest.mark.parametrize(
    ("activation", "arguments"),
    [
        ("relu", {"to": "elu", "scope": "all"}),
        ("relu", {"to": lambda: nn.ELU(alpha=0.5)}),
        ("silu", {"to": "elu"}),
        ("custom", {"to": "elu"}),
    ],
    ids=["gates too", "not a registered activation", "another one was exchanged", "an unknown one"],
)
def test_a_spec_that_cannot_say_what_was_exchanged_stays(specified, activation, arguments):
    specified.spec = before = Spec(activation=activation)
    swap_activation(specified, **arguments)
    assert specified.spec is before


@pytest.mark.parametrize("spec", [None, {"activation": "relu"}, Spec])
def test_another_attribute_called_spec_is_nobody_s_business(spec):
    model = GatedNet()
    model.spec = spec
    swap_activation(model, "elu")
    assert model.spec is spec
