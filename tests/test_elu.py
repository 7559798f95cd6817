"""ELU from `exp`: the numbers, gradients and graphs of `torch.nn.ELU`."""

import math

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from fer_attention.activations import create_activation
from fer_attention.elu import ELU, PART, TRAINED, elu_

SHAPES = [(), (0, 3), (5,), (2, 3, 40, 50), (7, PART // 4), (1, PART + 3)]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_are_those_of_torch(shape, dtype, alpha):
    x = torch.randn(shape, dtype=dtype) * 3
    expected = nn.functional.elu(x, alpha)
    tolerance = {torch.float32: 1e-7, torch.float64: 1e-15, torch.bfloat16: 0}[dtype]
    before = x.clone()
    torch.testing.assert_close(ELU(alpha)(x), expected, rtol=0, atol=tolerance)
    assert torch.equal(x, before)
    y = elu_(x, alpha)
    assert y is x
    torch.testing.assert_close(y, expected, rtol=0, atol=tolerance)


def test_special_numbers_and_memory_formats_are_preserved():
    x = torch.tensor([math.nan, math.inf, -math.inf, 100.0, -100.0])
    assert torch.equal(ELU()(x).nan_to_num(7), nn.ELU()(x).nan_to_num(7))
    maps = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    y = ELU(inplace=True)(maps)
    assert y is maps
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("size", [8, TRAINED])
def test_gradients_are_those_of_torch(size, inplace):
    x = torch.randn(size, dtype=torch.float64, requires_grad=True)
    found, expected = (
        torch.autograd.grad(act(x * 2).pow(2).sum(), x, create_graph=True)[0]
        for act in (ELU(0.5, inplace), nn.ELU(0.5, inplace))
    )
    torch.testing.assert_close(found, expected)
    second = [torch.autograd.grad(one.pow(2).sum(), x)[0] for one in (found, expected)]
    torch.testing.assert_close(*second)


def test_an_input_changed_afterwards_is_an_error_in_the_backward_pass():
    x = torch.randn(TRAINED, requires_grad=True)
    y = ELU()(x)
    with torch.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_compilers_tracers_and_transforms_see_the_operator():
    x = torch.randn(2, TRAINED)
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
