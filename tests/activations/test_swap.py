import dataclasses
import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from fer_attention.activations import swap_activation
from fer_attention.elu import ELU
from fer_attention.registry import UnknownNameError
from tests.support.gates import Gate, GatedNet


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
def test_every_relu_of_a_resnet_is_replaced_without_a_warning(build, count):
    model = build().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert swap_activation(model, "elu") == count
    assert types(model).count(ELU) == count
    assert nn.ReLU not in types(model)
    assert model(torch.randn(1, 3, 32, 32)).isfinite().all()


def test_the_model_computes_with_the_new_activation():
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


def test_gates_are_recognised_by_their_attribute():
    model = GatedNet()
    assert swap_activation(model, "elu") == 1
    assert isinstance(model.gate.act, nn.ReLU)
    assert swap_activation(model, "elu", scope="all") == 1
    assert isinstance(model.gate.act, nn.ELU)


def test_a_shared_instance_stays_shared_and_counts_once():
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()), nn.ModuleDict({"a": shared, "b": shared}))
    assert swap_activation(model, "prelu") == 2
    new = model[0]
    assert isinstance(new, nn.PReLU)
    assert model[1][0] is model[2]["a"] is model[2]["b"] is new
    assert model[1][1] is not new


def test_an_instance_shared_with_a_gate_is_replaced_outside_it_only():
    model = GatedNet()
    model.gate.act = old = model.act
    assert swap_activation(model, "elu") == 1
    assert isinstance(model.act, nn.ELU)
    assert model.gate.act is old


def test_a_block_used_at_two_positions_counts_once():
    block = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert swap_activation(nn.Sequential(block, block), "elu") == 1


def test_inplace_and_training_mode_are_preserved():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.ReLU(), nn.ReLU(inplace=True).eval())
    swap_activation(model, nn.ELU)
    assert [module.inplace for module in model] == [True, False, True]
    assert [module.training for module in model] == [True, True, False]
    assert swap_activation(model, "tanh", source="elu") == 3  # Tanh has no inplace option


def test_a_new_parameter_has_the_device_and_type_of_its_neighbours():
    model = nn.Sequential(nn.Linear(2, 2, dtype=torch.float64), nn.Sequential(nn.ReLU()))
    model.append(nn.Sequential(nn.Linear(2, 2, device="meta", dtype=torch.bfloat16), nn.ReLU()))
    swap_activation(model, "prelu")
    assert model[1][0].weight.dtype == torch.float64
    assert (model[2][1].weight.dtype, model[2][1].weight.device.type) == (torch.bfloat16, "meta")


def test_a_factory_creates_a_module_for_each_position():
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    assert swap_activation(model, lambda: nn.ELU(alpha=0.5)) == 2
    assert [module.alpha for module in model] == [0.5, 0.5]
    assert model[0] is not model[1]


def test_a_new_activation_may_contain_the_old_class():
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    assert swap_activation(model, lambda: nn.Sequential(nn.ReLU(), nn.Tanh())) == 2
    assert types(model).count(nn.ReLU) == 2


def test_a_class_matches_exactly_and_a_name_includes_the_class_of_timm():
    class OwnReLU(nn.ReLU): ...

    model = nn.Sequential(OwnReLU(), nn.ReLU(), nn.ReLU6(), nn.GELU(), timm.layers.get_act_layer("gelu")())
    with pytest.warns(UserWarning, match="F.relu in 0"):
        assert swap_activation(model, "elu") == 1
    assert swap_activation(model, "elu", source=("gelu", nn.ReLU6)) == 3
    assert [type(m) for m in model] == [OwnReLU, ELU, ELU, ELU, ELU]
    assert swap_activation(model, "relu", source=OwnReLU) == 1


@pytest.mark.parametrize("source", ["elu", nn.ELU])
def test_elu_means_that_of_torch_and_ours(source, specified):
    model = nn.Sequential(nn.ELU(), ELU())
    assert swap_activation(model, "relu", source=source) == 2
    assert swap_activation(specified, nn.ELU) == 1
    assert specified.spec == Spec("elu", width=0.5)


def test_a_missing_activation_is_refused_and_those_present_are_listed():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ELU(), nn.ELU(), nn.Tanh(), nn.Identity())
    with pytest.raises(ValueError, match=r"Sequential has no ReLU outside .* It has: 2 ELU, 1 Tanh\.$"):
        swap_activation(model, "silu")
    with pytest.raises(ValueError, match=r"no LeakyReLU or ReLU\. It has: 2 ELU"):
        swap_activation(model, "silu", source=(nn.ReLU, "leaky_relu"), scope="all")
    with pytest.raises(ValueError, match="source is empty"):
        swap_activation(model, "silu", source=())
    with pytest.raises(ValueError, match="no activation modules"):
        swap_activation(nn.Linear(1, 1), "silu")


def test_activations_only_inside_gates_are_refused_with_scope_all():
    with pytest.raises(ValueError, match="scope='all'"):
        swap_activation(Gate(), "elu")


def test_the_root_cannot_be_replaced():
    with pytest.raises(ValueError, match="itself a ReLU"):
        swap_activation(nn.ReLU(), "elu")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"to": "elo"}, UnknownNameError, "Did you mean 'elu'"),
        ({"to": "elu", "source": "rellu"}, UnknownNameError, "Did you mean 'relu'"),
        ({"to": "elu", "scope": "gates"}, ValueError, "Unknown scope 'gates'. Known: all, backbone"),
        ({"to": nn.ELU()}, TypeError, "new module"),
        ({"to": 3}, TypeError, "got 3"),
        ({"to": lambda: nn.ELU}, TypeError, "must create modules"),
        ({"to": "elu", "source": nn.ReLU()}, TypeError, "source must be a class"),
    ],
)
def test_bad_arguments_are_refused_and_leave_the_model_unchanged(arguments, error, message):
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    before = list(model)
    with pytest.raises(error, match=message):
        swap_activation(model, **arguments)
    assert list(model) == before


def test_the_spec_of_a_model_is_updated(specified):
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
    ids=["gates too", "not a registered activation", "another one was replaced", "an unknown one"],
)
def test_a_spec_that_cannot_record_the_change_stays(specified, activation, arguments):
    specified.spec = before = Spec(activation=activation)
    swap_activation(specified, **arguments)
    assert specified.spec is before


@pytest.mark.parametrize("spec", [None, {"activation": "relu"}, Spec])
def test_an_unrelated_attribute_called_spec_stays(spec):
    model = GatedNet()
    model.spec = spec
    swap_activation(model, "elu")
    assert model.spec is spec
