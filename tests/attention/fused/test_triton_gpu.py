"""The Triton kernels of fused attention on a real device, at sizes of real networks."""

import pytest
import torch

import tests.support.triton_formulas as formulas
from fer_attention.attention.fused import cuda
from fer_attention.attention.fused.gates import FusedActivation
from tests.support.triton_formulas import ACTS, TYPES, Case

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SHAPES = [
    (8, 256, 56, 56),
    (2, 2048, 7, 7),
    (3, 133, 29, 31),
    (1, 64, 112, 112),
    (64, 64, 10, 10),
    (1, 1, 1, 1),
    (2, 133, 1, 1),
    (1, 4099, 1, 3),
    (1, 3, 401, 401),
]
CASES = [Case(shape, dtype, last, "cuda") for shape in SHAPES for dtype in TYPES for last in (False, True)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_pass_is_correct(case):
    formulas.check_everything(case)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_elu_is_accurate_for_the_smallest_numbers(dtype):
    x = -torch.logspace(-30, 2, 4000, dtype=torch.float64).to(dtype).reshape(1, 1, 40, 100).cuda()
    y = cuda.combine(x, torch.ones(1, 1).cuda(), None, None, FusedActivation("elu")).double()
    assert ((y / x.double().expm1() - 1).abs() <= 8 * torch.finfo(dtype).eps).all()


def given(case):
    return case.map(0), case.per_channel(1), case.per_position(2), case.map(3)


@pytest.mark.parametrize("case", [case for case in CASES if case.shape[0] == 8], ids=str)
def test_repeated_runs_are_identical(case):
    expected = formulas.run_all(*given(case))
    for _ in range(5):
        for got, first in zip(formulas.run_all(*given(case)), expected, strict=True):
            assert torch.equal(got, first)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile_makes_one_graph_of_them(last, dynamic):
    compiled = torch.compile(formulas.run_all, fullgraph=True, dynamic=dynamic)
    for width in (56, 28):
        tensors = given(Case((2, 64, 56, width), torch.bfloat16, last, "cuda"))
        for got, expected in zip(compiled(*tensors), formulas.run_all(*tensors), strict=True):
            assert torch.equal(got, expected)
            assert got.stride() == expected.stride()


def test_cuda_graphs_replay_them():
    tensors = given(Case((2, 64, 28, 28), torch.bfloat16, True, "cuda"))
    expected = formulas.run_all(*tensors)  # compiles the kernels before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = formulas.run_all(*tensors)
    graph.replay()
    for got, first in zip(results, expected, strict=True):
        assert torch.equal(got, first)


def test_maps_beyond_32_bits_are_correct_at_their_end():
    n, c, h, w = 2, 1, 32768, 32800  # slightly more than 2**31 values of two bytes in one tensor
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GiB of free GPU memory")
    x = torch.zeros(n, c, h, w, dtype=torch.bfloat16, device="cuda")
    x[-1, -1, -1, -1] = 4
    _, peak, where = formulas.pool(x)
    assert peak.flatten().tolist() == [0, 4]
    assert where.flatten().tolist() == [0, h * w - 1]
    relu = ACTS[1]
    y = cuda.combine(x, torch.full((n, c), 0.5, device="cuda"), None, x, relu)
    assert y[-1, -1, -1, -1].item() == 6
    assert y.sum(dtype=torch.float32).item() == 6
    d, grad_gate, *_ = cuda.apply_backward(x, y, x, torch.ones(n, c, device="cuda"), None, relu, affine=None)
    assert d[-1, -1, -1, -1].item() == 4
    assert grad_gate.flatten().tolist() == [0, 16]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_they_run_on_the_device_of_their_map():
    expected = formulas.run_all(*given(Case((2, 64, 28, 28), device="cuda:0")))
    got = formulas.run_all(*given(Case((2, 64, 28, 28), device="cuda:1")))
    for one, other in zip(got, expected, strict=True):
        assert one.device.index == 1
        assert torch.equal(one.cpu(), other.cpu())
