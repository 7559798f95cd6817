"""The fused step against the plain modules on a CPU: values, gradients and side effects."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from fer_attention.attention import ATTENTIONS, attention_options
from fer_attention.attention.fused import aten
from fer_attention.models import build_model
from tests.support.gates import OPEN, C, distinct, gate, maps, named

FUSIBLE = [n for n in (*ATTENTIONS, *OPEN) if "implementation" in attention_options(named(n)[0])]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
ACTIVATIONS = [
    None,
    nn.GELU(),
    *(act(inplace=i) for act in (nn.ReLU, nn.ELU) for i in (False, True)),
    nn.ELU(0.5),
]
NORMS = ["none", "training", "frozen", "untracked"]

every = pytest.mark.parametrize("name", FUSIBLE)
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=["nchw", "channels_last"])


def twins(name, channels=C, **options):
    """Create the same block twice, fused and plain."""
    return tuple(gate(name, channels, implementation=kind, **options) for kind in ("fused", "plain"))


def norm_of(kind, channels=C, dtype=torch.float64):
    if kind == "none":
        return None
    norm = nn.BatchNorm2d(channels, dtype=dtype, track_running_stats=kind != "untracked")
    generator = torch.Generator().manual_seed(3)
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.2)
    norm.weight.data[::3] *= -1  # a negative scale turns maxima into minima
    norm.weight.data[1] = 0
    return norm.train(kind != "frozen")


def outcome(block, x, shortcut, kind, act, seed=5):
    """Return the output, gradients and norm state of one step."""
    norm = norm_of(kind, dtype=x.dtype)
    x, shortcut = (
        t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, shortcut)
    )
    y = block.residual(x, shortcut, norm=norm, act=act)
    generator = torch.Generator().manual_seed(seed)
    y.backward(torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.dtype))
    tensors = {"y": y.detach(), "x": x.grad, "shortcut": shortcut.grad}
    for owner in (block, *([norm] if norm else [])):
        tensors |= {f"{type(owner).__name__}.{n}.grad": p.grad for n, p in owner.named_parameters()}
        owner.zero_grad()
    return tensors | ({f"norm.{n}": t for n, t in norm.state_dict().items()} if norm else {})


def assert_same(fused, plain, x, shortcut, kind, act, **tolerances):
    assert fused.why_plain(x) is None
    actual, expected = outcome(fused, x, shortcut, kind, act), outcome(plain, x, shortcut, kind, act)
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(actual[key], value, msg=lambda m, key=key: f"{key}: {m}", **tolerances)


class TestParity:
    @every
    @layouts
    @pytest.mark.parametrize("kind", NORMS)
    @pytest.mark.parametrize("shape", [(3, C, 5, 4), (2, C, 1, 1), (1, C, 7, 3)], ids=str)
    def test_a_residual_step_matches_the_modules(self, name, layout, kind, shape):
        x, shortcut = (distinct(*shape, seed=s).to(memory_format=layout) for s in (1, 2))
        assert_same(*twins(name, dtype=torch.float64), x, shortcut, kind, nn.ReLU())

    @every
    @pytest.mark.parametrize("act", ACTIVATIONS, ids=str)
    def test_every_activation_is_applied_to_the_sum(self, name, act):
        x, shortcut = distinct(3, C, 5, 4, seed=1), distinct(3, C, 5, 4, seed=2)
        assert_same(*twins(name, dtype=torch.float64), x, shortcut, "training", act)

    @every
    @layouts
    def test_the_block_alone_matches_the_modules(self, name, layout):
        x = distinct(3, C, 5, 4, seed=1).to(memory_format=layout).requires_grad_()
        results = []
        for block in twins(name, dtype=torch.float64):
            y = block(x)
            results.append((y, *torch.autograd.grad(y.square().sum(), [x, *block.parameters()])))
        for actual, expected in zip(*results, strict=True):
            torch.testing.assert_close(actual, expected)
        assert results[0][0].is_contiguous(memory_format=layout)

    @every
    @pytest.mark.parametrize("layout", [*LAYOUTS, None], ids=["nchw", "channels_last", "strided"])
    def test_it_matches_the_modules_without_gradients(self, name, layout):
        wide = maps(3, 2 * C, 6, 10, dtype=torch.float64)
        x = wide[:, ::2, :, ::2] if layout is None else wide[:, ::2, :, ::2].contiguous(memory_format=layout)
        fused, plain = twins(name, dtype=torch.float64)
        with torch.inference_mode():
            for kind in ("none", "frozen"):
                steps = [b.residual(x, x + 1, norm=norm_of(kind), act=nn.ELU()) for b in (fused, plain)]
                torch.testing.assert_close(*steps)
            torch.testing.assert_close(fused(x), plain(x))

    @every
    def test_views_and_shortcuts_may_have_another_layout(self, name):
        wide = distinct(3, 2 * C, 6, 10)
        x, shortcut = wide[:, ::2, :, ::2], distinct(3, C, 6, 5, seed=4).to(memory_format=torch.channels_last)
        assert_same(*twins(name, dtype=torch.float64), x, shortcut, "training", nn.ReLU())

    @every
    @layouts
    @pytest.mark.parametrize("values", ["equal", "rectified", "two"])
    def test_the_first_of_several_maxima_gets_the_gradient(self, name, layout, values):
        x = torch.full((2, C, 4, 4), 1.5, dtype=torch.float64)
        if values != "equal":
            x = distinct(2, C, 4, 4)
            x = x.relu() if values == "rectified" else x.sign()
        x = x.to(memory_format=layout)
        assert_same(*twins(name, dtype=torch.float64), x, x.flip(0), "none", None)

    @every
    @pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)])
    @pytest.mark.parametrize("kind", ["none", "training"])
    def test_single_and_half_precision_match_within_rounding(self, name, dtype, digits, kind):
        x, shortcut = (maps(4, C, 6, 6, seed=s).to(dtype) for s in (1, 2))
        fused, plain = twins(name, dtype=dtype)
        actual, expected = (outcome(block, x, shortcut, kind, nn.ELU()) for block in (fused, plain))
        for key, value in expected.items():
            scale = value.abs().max().clamp(min=1) if value.is_floating_point() else 1
            torch.testing.assert_close(actual[key] / scale, value / scale, rtol=digits, atol=digits, msg=key)

    @every
    @settings(max_examples=25, deadline=None)
    @given(
        shape=st.tuples(*(st.integers(1, n) for n in (3, 40, 6, 6))),
        last=st.booleans(),
        kind=st.sampled_from(NORMS),
        seed=st.integers(0, 2**20),
    )
    def test_it_matches_the_modules_for_any_shape(self, name, shape, last, kind, seed):
        n, c, h, w = shape
        if kind in ("training", "untracked") and n * h * w == 1:
            return  # refused by a batch norm
        layout = torch.channels_last if last else torch.contiguous_format
        x, shortcut = (distinct(*shape, seed=seed + s).to(memory_format=layout) for s in (1, 2))
        options = {"reduction": 1} if "reduction" in attention_options(named(name)[0]) else {}
        blocks = twins(name, c, dtype=torch.float64, **options)
        results = []
        for block in blocks:
            norm = norm_of(kind, c) if c > 1 else None
            y = block.residual(x, shortcut, norm=norm, act=nn.ELU())
            with torch.no_grad():
                results.append((y, block.residual(x, shortcut, norm=norm, act=nn.ELU())))
        torch.testing.assert_close(*results)


class TestDerivatives:
    @every
    @layouts
    @pytest.mark.parametrize("kind", ["none", "training", "frozen"])
    @pytest.mark.parametrize("check", [gradcheck, gradgradcheck], ids=["first", "second"])
    def test_they_are_those_of_finite_differences(self, name, layout, kind, check):
        """First derivatives entry by entry; of second ones, random directions cost a fiftieth."""
        block = gate(name, 4, implementation="fused", dtype=torch.float64, **small_options(name))
        norm, act = norm_of(kind, 4), nn.ELU()
        if norm:
            norm.weight.data[1] = 0.5  # with 0, all values of the channel are its maximum
        owners = [block] + ([norm] if norm else [])
        names = [(owner, n) for owner in owners for n, _ in owner.named_parameters()]
        values = [owner.get_parameter(n).detach().clone().requires_grad_() for owner, n in names]
        x, shortcut = (distinct(2, 4, 3, 2, seed=s).to(memory_format=layout).requires_grad_() for s in (1, 2))

        def step(x, shortcut, *values):
            with_values = Pair(block, norm)
            owners = ("block" if owner is block else "norm" for owner, _ in names)
            named = {f"{owner}.{n}": v for owner, (_, n), v in zip(owners, names, values, strict=True)}
            return torch.func.functional_call(with_values, named, (x, shortcut, act))

        assert check(step, (x, shortcut, *values), fast_mode=check is gradgradcheck)

    @every
    def test_a_block_used_twice_sums_both_gradients(self, name):
        x, grads = distinct(2, C, 4, 4), []
        for block in twins(name, dtype=torch.float64):
            block(block(x)).square().sum().backward()
            grads.append([p.grad for p in block.parameters()])
        for actual, expected in zip(*grads, strict=True):
            torch.testing.assert_close(actual, expected)

    @every
    def test_the_backward_pass_is_deterministic(self, name):
        block, x, shortcut = gate(name, implementation="fused"), maps(4, C, 6, 6), maps(4, C, 6, 6, seed=1)
        first, second = (outcome(block, x, shortcut, "training", nn.ReLU()) for _ in range(2))
        for key, value in first.items():
            assert torch.equal(second[key], value), key

    @every
    def test_only_required_gradients_are_computed(self, name):
        blocks = [block.requires_grad_(False) for block in twins(name, dtype=torch.float64)]
        x, shortcut = distinct(2, C, 4, 4), distinct(2, C, 4, 4, seed=1)
        for wanted in (x, shortcut):
            wanted.requires_grad_()
            losses = [block.residual(x, shortcut).square().sum() for block in blocks]
            torch.testing.assert_close(*(torch.autograd.grad(loss, wanted) for loss in losses))
            wanted.requires_grad_(False)
        found = []
        for block in blocks:
            loss = block.requires_grad_().residual(x, shortcut).square().sum()
            found.append(torch.autograd.grad(loss, list(block.parameters())))
        torch.testing.assert_close(*found)


@layouts
@pytest.mark.parametrize("k", [1, 7, 300, 700])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_maxima_are_found_at_their_first_position(layout, k, dtype):
    rows = maps(3, 5, k, seed=k).to(dtype)
    rows[0] = 0
    rows[1, :, k // 2 :] = 9
    rows[2, 0, -1] = torch.nan
    expected = rows.max(2)
    if layout is torch.channels_last:
        values, where = aten._max_over_outer(rows.mT.contiguous())
    else:
        values, where = aten._max_over_inner(rows)
    torch.testing.assert_close(values, expected.values, equal_nan=True)
    assert torch.equal(where[:2], expected.indices[:2])
    assert ((where >= 0) & (where < k)).all()


def small_options(name):
    return {"reduction": 2} if "reduction" in attention_options(named(name)[0]) else {}


class Pair(nn.Module):
    """A block and the norm before it, for `functional_call`."""

    def __init__(self, block, norm):
        super().__init__()
        self.block, self.norm = block, norm

    def forward(self, x, shortcut, act):
        return self.block.residual(x, shortcut, norm=self.norm, act=act)


def saved_bytes(model, x):
    """Count the bytes that autograd saves for a backward pass, without parameters."""
    own, kept = {p.untyped_storage().data_ptr() for p in model.state_dict().values()}, {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(x).sum()
    del loss
    return sum(size for size, _ in kept.values())


@every
def test_a_resnet_saves_hardly_more_memory_than_without_attention(name):
    x = maps(2, 1, 80, 80).contiguous(memory_format=torch.channels_last)
    kept = {}
    for implementation in (None, "fused", "plain"):
        attention, options = ("none", {}) if implementation is None else named(name)
        options |= {} if implementation is None else {"implementation": implementation}
        model = build_model("resnet50", attention=attention, width=0.25, attention_options=options)
        kept[implementation] = saved_bytes(model.to(memory_format=torch.channels_last).train(), x)
    assert kept["fused"] < 1.10 * kept[None]
    assert kept["plain"] > 1.25 * kept[None]
