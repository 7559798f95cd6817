"""ELU from `exp`: the numbers, gradients and graphs of `torch.nn.ELU`."""

import math

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from fer_attention import elu
from fer_attention.activations import create_activation
from fer_attention.elu import ELU, PART, elu_

TOLERANCES = {  # relative: a last digit in half precision; absolute
    torch.float64: (0, 1e-15),
    torch.float32: (0, 1e-7),
    torch.bfloat16: (2**-7, 1e-7),
    torch.float16: (2**-10, 2e-7),
}
SHAPES = [(), (0, 3), (5,), (2, 3, 40, 50), (7, PART), (1, 8 * PART + 3)]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_are_those_of_torch(shape, dtype, alpha):
    x = torch.randn(shape, dtype=dtype) * 3
    expected = nn.functional.elu(x, alpha)
    tolerances = dict(zip(("rtol", "atol"), TOLERANCES[dtype], strict=True))
    before = x.clone()
    torch.testing.assert_close(ELU(alpha)(x), expected, **tolerances)
    assert torch.equal(x, before)
    y = elu_(x, alpha)
    assert y is x
    torch.testing.assert_close(y, expected, **tolerances)


def test_half_precision_is_rounded_once():
    """exp(x) - 1 in half precision would have errors of the size of its last digit near 1."""
    x = torch.linspace(-8, 1, 10_001).bfloat16()
    exact = nn.functional.elu(x.double())
    unequal = ELU()(x) != exact.bfloat16()
    assert unequal.float().mean() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_gradients_in_each_type_are_those_of_torch_in_place(dtype):
    """Both read the rounded output."""
    x = (torch.randn(4, 8, 9, 9) * 2).to(dtype)
    upstream = torch.randn_like(x)
    found, expected = (
        torch.autograd.grad(act((one := x.clone().requires_grad_()).clone()), one, upstream)[0]
        for act in (ELU(), nn.ELU(inplace=True))
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_special_numbers_and_memory_formats_are_preserved():
    x = torch.tensor([math.nan, math.inf, -math.inf, 100.0, -100.0])
    assert torch.equal(ELU()(x).nan_to_num(7), nn.ELU()(x).nan_to_num(7))
    maps = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    expected = nn.functional.elu(maps)
    y = ELU(inplace=True)(maps)
    assert y is maps
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "other"])
def test_large_maps_of_any_layout_are_computed_in_parts(layout, monkeypatch):
    monkeypatch.setattr(elu, "PART", 100)
    x = torch.randn(2, 5, 30, 40)
    if layout == "channels last":
        x = x.to(memory_format=torch.channels_last)
    elif layout == "other":
        x = x[..., ::2]
    expected = nn.functional.elu(x)
    torch.testing.assert_close(elu_(x), expected)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("alpha", [0.5, 1.5])
def test_gradients_are_those_of_torch(alpha, inplace):
    x = torch.randn(50, dtype=torch.float64, requires_grad=True)
    found, expected = (
        torch.autograd.grad(act(x * 2).pow(2).sum(), x, create_graph=True)[0]
        for act in (ELU(alpha, inplace), nn.ELU(alpha, inplace))
    )
    torch.testing.assert_close(found, expected)
    second = [torch.autograd.grad(one.pow(2).sum(), x)[0] for one in (found, expected)]
    torch.testing.assert_close(*second)


def test_training_and_inference_give_the_same_numbers():
    x = torch.randn(2, 50)
    assert torch.equal(ELU()(x), ELU()(x.clone().requires_grad_()))


def test_an_output_changed_afterwards_is_an_error_in_the_backward_pass():
    x = torch.randn(50, requires_grad=True)
    y = ELU()(x)
    with torch.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_compilers_tracers_and_transforms_see_the_operator():
    x = torch.randn(2, 50)
    program = torch.export.export(nn.Sequential(ELU()), (x,))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert targets == {"aten.elu.default"}
    [call] = [node for node in torch.fx.symbolic_trace(ELU()).graph.nodes if node.op == "call_function"]
    assert call.target is nn.functional.elu
    assert torch.equal(torch.vmap(ELU())(x), nn.functional.elu(x))
    with forward_ad.dual_level():
        assert forward_ad.unpack_dual(ELU()(forward_ad.make_dual(x, torch.ones_like(x)))).tangent is not None
    with FlopCounterMode(display=False):
        assert torch.equal(ELU()(x), nn.functional.elu(x))


def test_models_with_elu_use_it():
    act = create_activation("elu", alpha=0.5, inplace=True)
    assert type(act) is ELU
    assert repr(act) == "ELU(alpha=0.5, inplace=True)"
