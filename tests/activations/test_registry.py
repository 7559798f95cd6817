import pytest
import torch

from fer_attention.activations import ACTIVATIONS, create_activation
from fer_attention.registry import UnknownNameError


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_preserves_the_shape_and_has_a_gradient(name):
    x = torch.linspace(-2, 2, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5).requires_grad_()
    y = create_activation(name)(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    y.sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_call_creates_a_new_module(name):
    first, second = create_activation(name), create_activation(name)
    assert first is not second
    assert not set(first.parameters()) & set(second.parameters())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_inplace_writes_the_same_values_into_the_input_if_supported(name):
    x = torch.linspace(-2, 2, 60)
    expected = create_activation(name).eval()(x)
    module = create_activation(name, inplace=True).eval()
    given = x.clone()
    y = module(given)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(given, expected if getattr(module, "inplace", False) else x)


@pytest.mark.parametrize("name", ["relu", "elu", "selu", "silu", "leaky_relu", "mish", "hard_mish"])
def test_the_usual_activations_can_work_in_place(name):
    assert create_activation(name, inplace=True).inplace is True


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match=r"Unknown activation 'slu'. Did you mean 's[ie]lu'\?.*relu6"):
        create_activation("slu")


def test_options_are_passed_on_and_unknown_ones_refused():
    assert create_activation("elu", alpha=0.5).alpha == 0.5
    with pytest.raises(TypeError, match="slope"):
        create_activation("elu", slope=0.5)


def test_parameters_have_the_requested_device_and_dtype():
    weight = create_activation("prelu", device="meta", dtype=torch.float64).weight
    assert (weight.device.type, weight.dtype) == ("meta", torch.float64)
