"""Tests that `test_triton_kernels.py` runs in a separate process with Triton's interpreter."""

import importlib
import os
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import tests.support.triton_formulas as formulas
from fer_attention.attention.fused import cuda
from fer_attention.attention.fused.gates import FusedActivation
from tests.support.gates import distinct, gate
from tests.support.triton_formulas import ACTS, ALPHA, TYPES, Case

pytestmark = pytest.mark.skipif("TRITON_INTERPRET" not in os.environ, reason="needs Triton's interpreter")

FUSIBLE = ("se", "eca", "cbam", "ecbam")
SHAPES = [
    (1, 1, 1, 1),
    (2, 133, 1, 1),  # single positions; channels fill no block
    (2, 1, 5, 7),  # a single channel
    (2, 6, 1, 31),  # a prime count of positions
    (1, 130, 1, 17),  # several blocks along both axes
    (1, 3, 67, 67),  # several chunks of positions
    (1, 4099, 1, 3),  # several chunks of channels
]
SMALL = [Case((2, 5, 3, 7), dtype, last) for dtype, last in zip(TYPES, (1, 0, 0, 1), strict=True)]
CASES = [Case(shape) for shape in SHAPES] + [Case(shape, last=True) for shape in SHAPES[3:]] + SMALL


@pytest.fixture(scope="module", autouse=True)
def language_patched_once():
    """Spare Triton's interpreter patching all of `triton.language` anew at each call of a kernel's helper."""
    from triton.runtime import interpreter

    patch, patched = getattr(interpreter, "_patch_lang", None), set()

    def once(function):
        if id(function.__globals__) not in patched:
            patched.add(id(function.__globals__))
            patch(function)
        return SimpleNamespace(restore=lambda: None)

    with pytest.MonkeyPatch.context() as monkeypatch:
        if patch is not None:
            monkeypatch.setattr(interpreter, "_patch_lang", once)
        yield


each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_format = pytest.mark.parametrize(
    "case", [Case((2, 5, 3, 7), last=last) for last in (False, True)], ids=str
)


def tensors(case):
    return case.map(0), case.per_channel(1), case.per_position(2), case.map(3)


@each_case
def test_pool_returns_mean_and_first_maximum_of_each_channel(case):
    formulas.check_pool(case)


@each_case
def test_pool_pixels_returns_mean_and_first_maximum_of_each_position(case):
    formulas.check_pool_pixels(case)


@each_case
def test_combine_activates_the_sum_of_gated_map_and_shortcut(case):
    for act, spatial, shortcut in zip(ACTS, (False, True, True), (False, False, True), strict=True):
        formulas.check_combine(case, act, spatial=spatial, shortcut=shortcut)


@each_case
def test_apply_backward_returns_all_three_gradients(case):
    for act, spatial in zip(ACTS, (True, False, True), strict=True):
        formulas.check_combine_backward(case, act, spatial=spatial)


@each_case
def test_pool_pixels_backward_returns_the_gradient_of_the_gate(case):
    formulas.check_pool_pixels_backward(case)


@each_case
def test_input_backward_sums_all_gradients_of_the_map(case):
    formulas.check_input_backward(case, spatial=False, peak=False)
    formulas.check_input_backward(case, spatial=True, peak=True)


@each_format
def test_all_combinations_of_optional_inputs_are_correct(case):
    formulas.check_combinations(case)


@pytest.mark.parametrize("case", SMALL + [Case((1, 3, 67, 67)), Case((1, 4099, 1, 3), last=True)], ids=str)
def test_nan_is_the_maximum_and_passes_every_activation(case):
    formulas.check_nan(case)


def test_the_maximum_of_a_constant_infinite_map_is_its_first_position():
    x = torch.full((1, 2, 3, 3), float("-inf"))
    _, peak, where = formulas.pool(x)
    assert (peak == float("-inf")).all()
    assert (where == 0).all()
    assert (cuda.pool_pixels(x, torch.ones(1, 2))[2] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_elu_is_accurate_for_the_smallest_numbers(dtype):
    x = -torch.logspace(-30, 2, 4000, dtype=torch.float64).to(dtype).reshape(1, 1, 40, 100)
    y = cuda.combine(x, torch.ones(1, 1), None, None, FusedActivation("elu")).double()
    assert ((y / x.double().expm1() - 1).abs() <= 4 * torch.finfo(dtype).eps).all()


@each_format
@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x[..., ::2],
        lambda x: x[:, 1:4],
        lambda x: x.transpose(2, 3),
        lambda x: x[:1].expand(3, -1, -1, -1),
        lambda x: x[:, :1, :1, :1].expand(2, 5, 3, 7),
    ],
    ids=["columns", "channels", "transposed", "samples", "one value"],
)
def test_views_and_their_copies_have_the_same_results(case, cut):
    x, grad = cut(case.map(0)), cut(case.map(3))
    n, c, h, w = x.shape
    like = Case((n, c, h, w), case.dtype)
    small = like.per_channel(1), like.per_position(2)
    results = formulas.run_all(x, *small, grad)
    for got, expected in zip(results, formulas.run_all(x.clone(), *small, grad.clone()), strict=True):
        torch.testing.assert_close(got, expected)
    assert results[6].stride() in (
        x.contiguous().stride(),
        x.contiguous(memory_format=torch.channels_last).stride(),
    )


@each_format
def test_two_runs_are_identical(case):
    first, second = formulas.run_all(*tensors(case)), formulas.run_all(*tensors(case))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_gates_may_have_a_narrower_type_and_any_layout():
    case = Case((2, 5, 3, 7), torch.bfloat16)
    x, gate, positions, _ = tensors(case)
    narrow = gate.bfloat16()
    strided = narrow.t().contiguous().t(), positions.transpose(1, 2).contiguous().transpose(1, 2)
    expected = cuda.combine(x, narrow.float(), positions, None, ACTS[1])
    assert torch.equal(cuda.combine(x, *strided, None, ACTS[1]), expected)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.name)
def test_the_passes_together_match_the_gradient_of_autograd(act, last):
    """A small CBAM: gate = sigmoid(mean - maximum), spatial = sigmoid(mean + maximum of the gated map)."""
    case = Case((2, 5, 3, 7), torch.float64, last)
    x, shortcut, grad = (case.map(seed).requires_grad_(seed < 2) for seed in range(3))
    gate = (x.mean((2, 3)) - x.flatten(2).max(2).values).sigmoid()
    gated = x * gate[:, :, None, None]
    spatial = (gated.mean(1) + gated.max(1).values).sigmoid()
    total = gated * spatial[:, None] + shortcut
    y = {"identity": lambda v: v, "relu": F.relu, "elu": lambda v: F.elu(v, ALPHA)}[act.name](total)
    expected = torch.autograd.grad(y, (x, shortcut), grad)

    with torch.no_grad():
        mean, peak, position = formulas.pool(x)
        gate = (mean - peak).sigmoid()
        pixel_mean, pixel_peak, channel = cuda.pool_pixels(x, gate)
        spatial = (pixel_mean + pixel_peak).sigmoid()
        torch.testing.assert_close(cuda.combine(x, gate, spatial, shortcut, act), y)
        d, grad_gate, _, grad_spatial = cuda.apply_backward(grad, y, x, gate, spatial, act, affine=None)
        back = grad_spatial * spatial * (1 - spatial)
        grad_gate = grad_gate + cuda.pool_pixels_backward(x, back, back, channel)[0]
        through = grad_gate * gate * (1 - gate)
        spread, peak = through / (x.shape[2] * x.shape[3]), (-through, position)
        grad_x = cuda.input_backward(d, gate, spatial, (back, back, channel), spread, peak, None)
    torch.testing.assert_close(grad_x, expected[0])
    torch.testing.assert_close(d, expected[1])


def compile_and_compare(last, *, dynamic, widths):
    compiled = torch.compile(formulas.run_all, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for width in widths:
        inputs = tensors(Case((2, 5, 3, width), torch.bfloat16, last))
        for got, expected in zip(compiled(*inputs), formulas.run_all(*inputs), strict=True):
            assert torch.equal(got, expected)
            assert got.stride() == expected.stride()


def test_torch_compile_makes_one_graph_of_them():
    compile_and_compare(True, dynamic=False, widths=[7])


@pytest.mark.slow
@pytest.mark.parametrize("last", [False, True])
def test_torch_compile_supports_dynamic_sizes(last):
    compile_and_compare(last, dynamic=True, widths=[7, 4, 9])
    compile_and_compare(last, dynamic=None, widths=[6, 5])


def test_torch_export_supports_them():
    class Steps(torch.nn.Module):
        def forward(self, x, gate, positions, grad):
            return formulas.run_all(x, gate, positions, grad)

    inputs = tensors(Case((2, 5, 3, 7)))
    exported = torch.export.export(Steps(), inputs)
    for got, expected in zip(exported.module()(*inputs), formulas.run_all(*inputs), strict=True):
        assert torch.equal(got, expected)


def test_inference_mode_supports_them():
    inputs = tensors(Case((2, 5, 3, 7)))
    with torch.inference_mode():
        results = formulas.run_all(*inputs)
    for got, expected in zip(results, formulas.run_all(*inputs), strict=True):
        assert torch.equal(got, expected)


def test_the_operators_pass_the_checks_of_torch_library():
    """Each with a map in channels-last format, and with one that is strided."""
    x, gate, positions, grad = tensors(Case((2, 5, 3, 7), last=True))
    strided = Case((2, 5, 3, 14)).map(4)[..., ::2]
    channel, position = cuda.pool_pixels(x, gate)[2], formulas.pool(x)[2]
    calls = {
        "pool": [((x,), {"peak": True}), ((strided,), {"peak": False})],
        "pool_pixels": [((x, gate), {}), ((strided, gate), {})],
        "combine": [
            ((x, gate, positions, grad, "elu", ALPHA), {}),
            ((strided, gate, None, None, "relu", 1.0), {}),
        ],
        "combine_backward": [
            ((grad, x, x, gate, positions, "elu", ALPHA), {}),
            ((grad, None, strided, gate, positions, "identity", 1.0), {}),
            ((grad, x, strided, gate, None, "relu", 1.0), {}),
        ],
        "pool_pixels_backward": [((x, positions, positions, channel), {})],
        "input_backward": [
            ((x, gate, positions, positions, positions, channel, gate, gate, position), {}),
            ((strided, gate, None, None, None, None, gate, None, None), {}),
        ],
    }
    for name, arguments in calls.items():
        for args, kwargs in arguments:
            torch.library.opcheck(getattr(torch.ops.fer_attention, name).default, args, kwargs)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", [f"{block}{start}" for block in FUSIBLE for start in ("", "-open")])
def test_a_whole_block_matches_its_plain_modules(monkeypatch, name, last):
    for part in ("choice", "computation"):
        module = importlib.import_module(f"fer_attention.attention.fused.{part}")
        monkeypatch.setattr(module, "kernels_for", lambda x: cuda)
    layout = torch.channels_last if last else torch.contiguous_format
    outcomes = []
    for implementation in ("fused", "plain"):
        block = gate(name, 16, implementation=implementation, dtype=torch.float64)
        norm = nn.BatchNorm2d(16, dtype=torch.float64)
        x, shortcut = (
            distinct(2, 16, 3, 5, seed=s).to(memory_format=layout).requires_grad_() for s in (1, 2)
        )
        assert implementation == "plain" or block.why_plain(x) is None
        y = block.residual(x, shortcut, norm=norm, act=nn.ELU(0.5))
        inputs = [x, shortcut, *norm.parameters(), *block.parameters()]
        grads = torch.autograd.grad(y.square().sum(), inputs)
        with torch.no_grad():
            outcomes.append([y, block(x), *grads, norm.running_mean, norm.running_var])
    torch.testing.assert_close(*outcomes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        Case(shape, dtype, bool((i + k) % 2))  # every shape with every type, and both with either layout
        for i, shape in enumerate(SHAPES)
        for k, dtype in enumerate(TYPES)
    ],
    ids=str,
)
def test_every_pass_is_correct_in_every_type(case):
    formulas.check_everything(case)


@pytest.mark.slow
@settings(max_examples=10)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 150), st.integers(1, 15), st.integers(1, 15)),
    st.sampled_from(TYPES),
    st.booleans(),
)
def test_every_pass_is_correct_for_any_shape(shape, dtype, last):
    formulas.check_everything(Case(shape, dtype, last))
