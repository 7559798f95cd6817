"""The contract of every registered attention block, and each block's numbers against its formula."""

import itertools
import math

import numpy as np
import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers.cbam import ChannelAttn
from torch import nn
from torch.nn import functional as F

from fer_attention.attention import (
    ATTENTIONS,
    CBAM,
    AttentionGate,
    CBAMChannelGate,
    CBAMSpatialGate,
    ECABlock,
    SEBlock,
    add_attention,
    attention_options,
    create_attention,
    eca_kernel_size,
)
from fer_attention.registry import UnknownNameError

C = 32
EVERY = pytest.mark.parametrize("name", ATTENTIONS)


def maps(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def distinct(*shape, seed=0):
    """Distinct, evenly spaced values in float64: no maximum is a tie, so every gate is smooth there."""
    order = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(seed))
    return (order.double() / order.numel() * 4 - 2).reshape(shape)


def gate(name, channels=C, *, seed=0, **options):
    torch.manual_seed(seed)
    return create_attention(name, channels, **options)


class TestContract:
    @EVERY
    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (6, 6), (11, 5)], ids=str)
    @pytest.mark.parametrize("batch", [0, 1, 3])
    @pytest.mark.parametrize("channels", [16, 24, 64])
    def test_the_shape_is_kept(self, name, shape, batch, channels):
        x = maps(batch, channels, *shape)
        y = gate(name, channels)(x)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert y.isfinite().all()

    @EVERY
    @pytest.mark.parametrize("shape", [(2, C, 5, 4), (1, C, 1, 1)], ids=str)
    def test_the_output_is_the_input_times_weights_between_0_and_1(self, name, shape):
        x = maps(*shape, dtype=torch.float64)
        block = gate(name, dtype=torch.float64)
        weights = block.weights(x)
        assert torch.broadcast_shapes(weights.shape, x.shape) == x.shape
        assert weights.ndim == 4
        assert ((weights > 0) & (weights < 1)).all()
        torch.testing.assert_close(block(x), x * weights)

    @EVERY
    def test_weights_depend_on_the_input(self, name):
        block = gate(name)
        first, second = block.weights(maps(1, C, 6, 6, seed=1)), block.weights(maps(1, C, 6, 6, seed=2))
        assert not torch.allclose(first, second)

    @EVERY
    def test_samples_of_a_batch_do_not_see_each_other(self, name):
        block, x = gate(name).eval(), maps(3, C, 6, 6)
        torch.testing.assert_close(block(x), torch.cat([block(sample[None]) for sample in x]))

    @EVERY
    def test_memory_layout_changes_no_number(self, name):
        block, x = gate(name), maps(2, C, 6, 5)
        expected = block(x)
        torch.testing.assert_close(block(x.to(memory_format=torch.channels_last)), expected)
        wide = maps(2, 2 * C, 12, 5, seed=9)
        wide[:, ::2, ::2] = x
        view = wide[:, ::2, ::2]
        assert not view.is_contiguous()
        torch.testing.assert_close(block(view), expected)

    @EVERY
    def test_the_input_is_left_as_it_was(self, name):
        x = maps(2, C, 4, 4)
        before = x.clone()
        gate(name)(x)
        torch.testing.assert_close(x, before, rtol=0, atol=0)

    @EVERY
    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
    def test_dtype_reaches_every_tensor_and_the_output(self, name, dtype):
        block = gate(name, dtype=dtype)
        tensors = [t for t in block.state_dict().values() if t.is_floating_point()]
        assert tensors
        assert all(t.dtype == dtype for t in tensors)
        assert block(maps(2, C, 4, 4).to(dtype)).dtype == dtype

    @EVERY
    def test_device_reaches_every_tensor(self, name):
        block = gate(name, device="meta")
        tensors = list(block.state_dict().values())
        assert all(t.device.type == "meta" for t in tensors)
        assert block(torch.empty(2, C, 4, 4, device="meta")).shape == (2, C, 4, 4)

    @EVERY
    def test_gradients_are_right(self, name):
        block = gate(name, 16, dtype=torch.float64)
        x = distinct(2, 16, 3, 4).requires_grad_()
        names, values = zip(*block.named_parameters(), strict=True)
        values = [v.detach().clone().requires_grad_() for v in values]

        def run(x, *values):
            return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(run, (x, *values))

    @EVERY
    def test_every_parameter_gets_a_gradient(self, name):
        block = gate(name, 64)
        block(maps(8, 64, 5, 5)).square().sum().backward()
        for parameter_name, parameter in block.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name

    @EVERY
    def test_a_state_dict_carries_everything(self, name):
        x = maps(2, C, 6, 6)
        first, second = gate(name, seed=1), gate(name, seed=2)
        assert not torch.equal(first(x), second(x))
        second.load_state_dict(first.state_dict())
        torch.testing.assert_close(second(x), first(x), rtol=0, atol=0)

    @EVERY
    def test_a_block_says_that_it_is_one(self, name):
        block = gate(name)
        assert isinstance(block, AttentionGate)
        assert block.is_attention_gate is True
        assert block.channels == C

    @EVERY
    def test_an_unknown_option_is_refused_with_the_known_ones(self, name):
        with pytest.raises(TypeError, match=f"'{name}' has no option 'reductoin'") as caught:
            create_attention(name, C, reductoin=4)
        assert all(option in str(caught.value) for option in attention_options(name))

    @EVERY
    def test_options_are_keywords_after_one_positional_argument(self, name):
        with pytest.raises(TypeError, match="positional"):
            ATTENTIONS[name](C, 16)

    @EVERY
    @pytest.mark.parametrize("shape", [(2, C + 1, 4, 4), (2, 1, 4, 4), (C, 4, 4), (2, C), (2, C, 4, 4, 4)])
    def test_a_map_that_does_not_fit_is_refused_with_both_shapes(self, name, shape):
        with pytest.raises(ValueError, match=rf"\(N, {C}, H, W\)") as caught:
            gate(name)(torch.zeros(shape))
        assert str(tuple(shape)) in str(caught.value)

    @EVERY
    @pytest.mark.parametrize("channels", [0, -3])
    def test_no_channels_are_refused(self, name, channels):
        with pytest.raises(ValueError, match=f"channels={channels}"):
            create_attention(name, channels)

    def test_an_unknown_name_suggests_the_nearest(self):
        with pytest.raises(
            UnknownNameError, match=r"Unknown attention 'cbma'. Did you mean 'cbam'\?.*eca.*se"
        ):
            create_attention("cbma", 64)


class TestOptions:
    @pytest.mark.parametrize("name", [n for n in ATTENTIONS if "reduction" in attention_options(n)])
    @pytest.mark.parametrize(("channels", "reduction"), [(8, 16), (16, 17), (16, 0), (16, -4)])
    def test_a_reduction_to_no_hidden_channel_is_refused_with_both_numbers(self, name, channels, reduction):
        with pytest.raises(ValueError, match=f"reduction={reduction} .*channels={channels}"):
            create_attention(name, channels, reduction=reduction)

    @pytest.mark.parametrize("name", [n for n in ATTENTIONS if "reduction" in attention_options(n)])
    @pytest.mark.parametrize(("reduction", "hidden"), [(1, 48), (5, 9), (16, 3), (48, 1)])
    def test_the_hidden_width_is_channels_over_reduction_rounded_down(self, name, reduction, hidden):
        block = create_attention(name, 48, reduction=reduction)
        shapes = [tuple(p.shape) for p in block.parameters() if p.ndim == 4 and 48 in p.shape[:2]]
        assert shapes[0] == (hidden, 48, 1, 1)
        assert shapes[1] == (48, hidden, 1, 1)

    @pytest.mark.parametrize("name", [n for n in ATTENTIONS if "kernel_size" in attention_options(n)])
    @pytest.mark.parametrize("kernel_size", [0, 2, 8, -1])
    def test_an_even_kernel_is_refused_with_its_number(self, name, kernel_size):
        with pytest.raises(ValueError, match=f"odd.*{kernel_size}"):
            create_attention(name, C, kernel_size=kernel_size)

    @pytest.mark.parametrize("name", [n for n in ATTENTIONS if "kernel_size" in attention_options(n)])
    @pytest.mark.parametrize("kernel_size", [1, 3, 9])
    def test_a_kernel_size_is_taken_as_given(self, name, kernel_size):
        block = create_attention(name, C, kernel_size=kernel_size)
        assert any(p.shape[-1] == kernel_size for p in block.parameters())
        assert block(maps(1, C, 3, 3)).shape == (1, C, 3, 3)

    @pytest.mark.parametrize("bad", [{"gamma": 0}, {"gamma": -1}])
    def test_eca_refuses_numbers_that_give_no_kernel(self, bad):
        with pytest.raises(ValueError, match=f"gamma={bad['gamma']}"):
            ECABlock(64, **bad)

    @pytest.mark.parametrize(
        ("name", "channels", "count"),
        [
            ("se", 512, 2 * 512 * 32 + 32 + 512),  # with biases: 33,312
            ("eca", 512, 5),
            ("cbam", 512, 2 * 512 * 32 + 2 * 7 * 7),  # without biases
            ("se", 2048, 2 * 2048 * 128 + 128 + 2048),
            ("eca", 2048, 7),
        ],
    )
    def test_parameters_are_as_many_as_the_papers_say(self, name, channels, count):
        assert sum(p.numel() for p in create_attention(name, channels, device="meta").parameters()) == count


def eca_kernel_by_integers(channels):
    """|log2(C)/2 + 1/2| without a logarithm: its floor is the largest m with 2^(2m-1) <= C."""
    m = 0
    while 2 ** (2 * (m + 1) - 1) <= channels:
        m += 1
    return m | 1


def test_the_adaptive_kernel_is_the_papers_for_every_channel_count():
    assert [eca_kernel_size(c) for c in range(1, 4097)] == [eca_kernel_by_integers(c) for c in range(1, 4097)]


@given(
    st.integers(1, 4096),
    st.floats(0.25, 8, allow_nan=False),
    st.floats(-20, 20, allow_nan=False),
)
def test_the_adaptive_kernel_is_odd_and_positive_whatever_gamma_and_b(channels, gamma, b):
    k = eca_kernel_size(channels, gamma=gamma, b=b)
    exact = abs((math.log2(channels) + b) / gamma)
    assert k % 2 == 1
    assert k >= 1
    assert -1e-9 <= exact - k + 1 <= 2  # at most one above, less than two below


class TestParity:
    """Forward numbers against NumPy loops; gradients against einsum formulas, in float64."""

    x = distinct(2, C, 5, 4, seed=3)

    def test_se_gives_the_numbers_of_its_equations(self):
        block = gate("se", dtype=torch.float64, reduction=4)
        w1, b1, w2, b2 = (
            p.detach().numpy().reshape(p.shape[:2] if p.ndim > 1 else -1) for p in block.parameters()
        )
        x = self.x.numpy()
        expected = np.empty_like(x)
        for n in range(len(x)):
            z = np.array([x[n, c].sum() / x[n, c].size for c in range(C)])
            s = sigmoid(w2 @ np.maximum(w1 @ z + b1, 0) + b2)
            for c in range(C):
                expected[n, c] = s[c] * x[n, c]
        np.testing.assert_allclose(block(self.x).detach().numpy(), expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("kernel_size", [None, 1, 5, 9])
    def test_eca_gives_the_numbers_of_its_equations(self, kernel_size):
        block = gate("eca", dtype=torch.float64, kernel_size=kernel_size)
        w = block.conv.weight.detach().numpy().ravel()
        x = self.x.numpy()
        expected = np.empty_like(x)
        for n in range(len(x)):
            z = x[n].mean((1, 2))
            for c in range(C):
                total = 0.0
                for j, weight in enumerate(w):
                    neighbour = c + j - len(w) // 2
                    total += weight * z[neighbour] if 0 <= neighbour < C else 0.0
                expected[n, c] = sigmoid(total) * x[n, c]
        np.testing.assert_allclose(block(self.x).detach().numpy(), expected, rtol=0, atol=1e-12)

    def test_cbam_s_channel_gate_gives_the_numbers_of_its_equation(self):
        torch.manual_seed(0)
        block = CBAMChannelGate(C, reduction=8, dtype=torch.float64)
        np.testing.assert_allclose(
            block(self.x).detach().numpy(), cbam_channel_by_numpy(block, self.x.numpy()), rtol=0, atol=1e-12
        )

    @pytest.mark.parametrize("kernel_size", [1, 3, 7])
    def test_cbam_s_spatial_gate_gives_the_numbers_of_its_equation(self, kernel_size):
        torch.manual_seed(0)
        block = CBAMSpatialGate(C, kernel_size=kernel_size, dtype=torch.float64)
        np.testing.assert_allclose(
            block(self.x).detach().numpy(), cbam_spatial_by_numpy(block, self.x.numpy()), rtol=0, atol=1e-12
        )

    def test_cbam_is_its_channel_gate_and_then_its_spatial_gate_of_the_refined_map(self):
        block = gate("cbam", dtype=torch.float64, reduction=8, kernel_size=3)
        refined = cbam_channel_by_numpy(block.channel, self.x.numpy())
        expected = cbam_spatial_by_numpy(block.spatial, refined)
        np.testing.assert_allclose(block(self.x).detach().numpy(), expected, rtol=0, atol=1e-12)
        # the paper's published code reads the spatial map off the block's input
        of_the_input = block.spatial.weights(self.x) * block.channel(self.x)
        assert not np.allclose(of_the_input.detach().numpy(), expected)

    @pytest.mark.parametrize(
        ("block", "formula"),
        [
            (lambda: SEBlock(C, reduction=4, dtype=torch.float64), lambda b, x, p: se_by_einsum(x, p)),
            (lambda: ECABlock(C, kernel_size=5, dtype=torch.float64), lambda b, x, p: eca_by_einsum(x, p)),
            (
                lambda: CBAMChannelGate(C, reduction=4, dtype=torch.float64),
                lambda b, x, p: cbam_channel_by_einsum(x, p),
            ),
            (lambda: CBAMSpatialGate(C, dtype=torch.float64), lambda b, x, p: cbam_spatial_by_einsum(x, p)),
            (
                lambda: CBAM(C, reduction=4, kernel_size=5, dtype=torch.float64),
                lambda b, x, p: cbam_spatial_by_einsum(cbam_channel_by_einsum(x, p[:2]), p[2:]),
            ),
        ],
        ids=["se", "eca", "cbam channel", "cbam spatial", "cbam"],
    )
    def test_gradients_are_those_of_the_einsum_formula(self, block, formula):
        torch.manual_seed(0)
        block = block()
        direction = maps(*self.x.shape, seed=7, dtype=torch.float64)
        inputs = [self.x.clone().requires_grad_(), *block.parameters()]
        copies = [t.detach().clone().requires_grad_() for t in inputs]
        y, expected = block(inputs[0]), formula(block, copies[0], copies[1:])
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        ours = torch.autograd.grad((y * direction).sum(), inputs)
        theirs = torch.autograd.grad((expected * direction).sum(), copies)
        for mine, other in zip(ours, theirs, strict=True):
            assert other.abs().max() > 0
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cbam_channel_by_numpy(block, x):
    w0, w1 = (p.detach().numpy()[:, :, 0, 0] for p in block.parameters())
    y = np.empty_like(x)
    for n in range(len(x)):
        mean, peak = x[n].reshape(C, -1).mean(1), x[n].reshape(C, -1).max(1)
        s = sigmoid(w1 @ np.maximum(w0 @ mean, 0) + w1 @ np.maximum(w0 @ peak, 0))
        y[n] = s[:, None, None] * x[n]
    return y


def cbam_spatial_by_numpy(block, x):
    (w,) = (p.detach().numpy()[0] for p in block.parameters())  # (2, k, k)
    half = w.shape[-1] // 2
    y = np.empty_like(x)
    for n, row, column in np.ndindex(len(x), *x.shape[2:]):
        total = 0.0
        for i, j in np.ndindex(w.shape[1:]):
            r, c = row + i - half, column + j - half
            if 0 <= r < x.shape[2] and 0 <= c < x.shape[3]:
                total += w[0, i, j] * x[n, :, r, c].mean() + w[1, i, j] * x[n, :, r, c].max()
        y[n, :, row, column] = sigmoid(total) * x[n, :, row, column]
    return y


def se_by_einsum(x, parameters):
    w1, b1, w2, b2 = parameters
    z = torch.einsum("nchw->nc", x) / x[0, 0].numel()
    hidden = (torch.einsum("nc,hcij->nh", z, w1) + b1).clamp(min=0)
    return torch.einsum("nc,nchw->nchw", 1 / (1 + (-torch.einsum("nh,chij->nc", hidden, w2) - b2).exp()), x)


def eca_by_einsum(x, parameters):
    kernel = parameters[0].flatten()
    z = torch.einsum("nchw->nc", x) / x[0, 0].numel()
    neighbours = F.pad(z, (len(kernel) // 2,) * 2).unfold(1, len(kernel), 1)  # (N, C, k)
    return torch.einsum("nc,nchw->nchw", 1 / (1 + (-torch.einsum("nck,k->nc", neighbours, kernel)).exp()), x)


def cbam_channel_by_einsum(x, parameters):
    w0, w1 = (p[:, :, 0, 0] for p in parameters)
    logits = sum(
        torch.einsum("ch,nh->nc", w1, torch.einsum("hc,nc->nh", w0, pooled).clamp(min=0))
        for pooled in (torch.einsum("nchw->nc", x) / x[0, 0].numel(), x.flatten(2).max(-1).values)
    )
    return torch.einsum("nc,nchw->nchw", 1 / (1 + (-logits).exp()), x)


def cbam_spatial_by_einsum(x, parameters):
    (w,) = parameters
    n, _, height, width = x.shape
    pooled = torch.stack([torch.einsum("nchw->nhw", x) / x.shape[1], x.max(1).values], 1)
    patches = F.unfold(pooled, w.shape[-1], padding=w.shape[-1] // 2)  # (N, 2·k·k, H·W)
    logits = torch.einsum("npl,p->nl", patches, w.flatten()).reshape(n, height, width)
    return torch.einsum("nhw,nchw->nchw", 1 / (1 + (-logits).exp()), x)


class TestTimmParity:
    x = maps(3, 64, 6, 5, seed=5)

    def copied(self, ours, theirs):
        theirs.load_state_dict(ours.state_dict())  # strict: the names are timm's
        torch.testing.assert_close(ours(self.x), theirs(self.x), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("reduction", [4, 16])
    def test_se_is_timm_s(self, reduction):
        self.copied(
            gate("se", 64, reduction=reduction),
            timm.layers.SEModule(64, rd_channels=64 // reduction, bias=True),
        )

    def test_eca_is_timm_s(self):
        self.copied(gate("eca", 64), timm.layers.EcaModule(64))
        self.copied(gate("eca", 64, kernel_size=7), timm.layers.EcaModule(kernel_size=7))

    def test_cbam_s_channel_gate_is_timm_s(self):
        torch.manual_seed(0)
        self.copied(CBAMChannelGate(64, reduction=8), ChannelAttn(64, rd_channels=8))


@pytest.mark.parametrize("name", ["se", "eca"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(1, 7), width=st.integers(1, 7))
def test_a_channel_gate_does_not_see_where_pixels_are(name, seed, height, width):
    block = gate(name, dtype=torch.float64)
    x = maps(2, C, height, width, seed=seed, dtype=torch.float64)
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))

    def shuffled(t):
        return t.flatten(2)[:, :, order].reshape(t.shape)

    torch.testing.assert_close(block(shuffled(x)), shuffled(block(x)))


def test_cbam_does_see_where_pixels_are():
    block, x = gate("cbam"), maps(2, C, 6, 6)
    turned = x.flip(-1).transpose(-1, -2)
    assert not torch.allclose(block(turned), block(x).flip(-1).transpose(-1, -2))


def gates_of(model):
    """The blocks that were placed; what is inside of them does not count."""
    found = [path for path, module in model.named_modules() if isinstance(module, AttentionGate)]
    return [path for path in found if not any(path.startswith(f"{other}.") for other in found)]


KNOWN_NETS = {
    "torchvision resnet18": (torchvision.models.resnet18, 8),
    "torchvision resnet50": (torchvision.models.resnet50, 16),
    "torchvision resnext50": (torchvision.models.resnext50_32x4d, 16),
    "timm resnet18": (lambda: timm.create_model("resnet18"), 8),
    "timm resnet50": (lambda: timm.create_model("resnet50"), 16),
    "timm resnetv2_50": (lambda: timm.create_model("resnetv2_50"), 16),
}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5)


class TestAddAttention:
    @pytest.mark.parametrize("net", KNOWN_NETS)
    def test_one_gate_goes_to_every_residual_block_and_the_rest_stays(self, net):
        torch.manual_seed(0)
        build, blocks = KNOWN_NETS[net]
        model = build().eval()
        randomise_norms(model)  # timm's last norms start at zero, where a gate behind them changes nothing
        x = maps(2, 3, 64, 64)
        before = {id(p): p.detach().clone() for p in model.parameters()}
        with torch.no_grad():
            logits = model(x)

        assert add_attention(model, "cbam") == blocks
        assert len(gates_of(model)) == blocks

        after = list(model.parameters())
        kept = [p for p in after if id(p) in before]
        assert len(kept) == len(before)
        assert all(torch.equal(p, before[id(p)]) for p in kept)
        new = [p for p in after if id(p) not in before]
        assert len(new) == 3 * blocks  # fc1, fc2 and the spatial convolution
        assert not any(module.training for module in model.modules())

        gated = model(x)
        assert gated.shape == logits.shape
        assert not torch.allclose(gated, logits)
        model.train()(x).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
        assert all(p.grad.abs().sum() > 0 for p in new)

    @EVERY
    def test_every_block_can_be_added(self, net, name):
        x = maps(2, 3, 32, 32)
        assert add_attention(net, name) == 8
        net(x).sum().backward()
        assert all(p.grad is not None for p in net.parameters())

    @pytest.mark.parametrize(
        ("build", "last"),
        [
            (torchvision.models.resnet18, "bn2"),
            (torchvision.models.resnet50, "bn3"),
            (lambda: timm.create_model("resnet50"), "bn3"),
        ],
    )
    def test_the_gate_stands_before_the_sum_with_the_shortcut(self, build, last):
        model = build().eval()
        add_attention(model, "se")
        block, seen = model.layer2[1], {}
        gated = getattr(block, last)
        gated.register_forward_hook(lambda m, i, o: seen.update(gate_in=i[0], gate_out=o.clone()))
        block.register_forward_hook(lambda m, i, o: seen.update(shortcut=i[0], out=o))
        model(maps(1, 3, 64, 64))
        torch.testing.assert_close(seen["out"], F.relu(seen["gate_out"] + seen["shortcut"]))
        torch.testing.assert_close(seen["gate_out"], gated.attention(gated.layer(seen["gate_in"])))

    def test_options_reach_the_blocks(self, net):
        add_attention(net, "eca", kernel_size=9)
        assert {m.conv.kernel_size for m in net.modules() if isinstance(m, ECABlock)} == {(9,)}

    def test_blocks_take_type_and_mode_of_their_layer(self, net):
        add_attention(net.double().eval(), "se")
        for path in gates_of(net):
            block = net.get_submodule(path)
            assert not block.training
            assert all(p.dtype == torch.float64 for p in block.parameters())

    def test_blocks_go_behind_the_named_modules_of_any_cnn(self):
        model = torchvision.models.vgg16(num_classes=3)
        assert add_attention(model, "se", after=["features.28", "features.21"]) == 2
        assert gates_of(model) == ["features.21.attention", "features.28.attention"]
        assert model(maps(1, 3, 32, 32)).shape == (1, 3)

    def test_blocks_go_behind_containers(self):
        model = torchvision.models.mobilenet_v3_small(num_classes=3).eval()
        names = [f"features.{i}" for i in range(1, 12)]
        assert add_attention(model, "cbam", after=names, reduction=4) == 11
        assert model(maps(1, 3, 64, 64)).shape == (1, 3)

    def test_a_module_and_its_part_can_both_be_gated(self):
        for names in (["features", "features.18"], ["features.18", "features"]):
            model = torchvision.models.vgg11(num_classes=3)
            assert add_attention(model, "eca", after=names) == 2
            assert gates_of(model) == ["features.layer.18.attention", "features.attention"]
            assert list(dict(model.features.named_children())) == ["layer", "attention"]
            assert model(maps(1, 3, 32, 32)).shape == (1, 3)

    def test_a_mapping_says_the_channels_that_cannot_be_read(self):
        model = torchvision.models.vgg11(num_classes=3)
        with pytest.raises(ValueError, match=r"features\.20 \(MaxPool2d\).*after=\{'features\.20': 256\}"):
            add_attention(model, "se", after=["features.20"])
        assert add_attention(model, "se", after={"features.20": 512}) == 1
        assert model.features[20].attention.channels == 512
        assert model(maps(1, 3, 32, 32)).shape == (1, 3)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"name": "cbma"}, UnknownNameError, "Did you mean 'cbam'"),
            ({"name": "se", "reductoin": 4}, TypeError, "'reductoin'.*reduction"),
            ({"name": "se", "reduction": 128}, ValueError, "reduction=128.*channels=64"),
            ({"name": "se", "after": ["layer5"]}, UnknownNameError, "Unknown module 'layer5'.*'layer"),
            ({"name": "se", "after": [""]}, UnknownNameError, "Unknown module ''"),
            (
                {"name": "se", "after": ["layer1.0.bn2", "avgpool"]},
                ValueError,
                r"avgpool \(AdaptiveAvgPool2d\)",
            ),
            ({"name": "se", "after": {"layer1.0.bn2": 64, "avgpool": 0}}, ValueError, "channels=0"),
            ({"name": "se", "after": {"layer1.0.bn2": 0}}, ValueError, "channels=0"),
            ({"name": "se", "after": []}, ValueError, "no block would be placed"),
        ],
    )
    def test_an_error_leaves_the_model_as_it_was(self, net, arguments, error, message):
        before = repr(net)
        with pytest.raises(error, match=message):
            add_attention(net, **arguments)
        assert repr(net) == before

    def test_a_second_gate_at_a_place_is_refused_and_the_first_stays(self, net):
        add_attention(net, "se")
        before = repr(net)
        for arguments in ({}, {"after": ["layer4.1.bn2"]}, {"after": ["layer1.0.conv1", "layer4.1.bn2"]}):
            with pytest.raises(ValueError, match=r"bn2 is gated already, by SEBlock"):
                add_attention(net, "eca", **arguments)
        assert repr(net) == before

    def test_a_model_without_residual_blocks_is_refused_with_the_way_out(self):
        for model in (torchvision.models.vgg11(), nn.Linear(2, 2)):
            with pytest.raises(ValueError, match=f"{type(model).__name__} has no residual block.*after="):
                add_attention(model, "se")


def randomise_norms(model):
    generator = torch.Generator().manual_seed(11)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0, generator=generator)


def test_no_two_blocks_compute_the_same():
    x = maps(2, C, 6, 6)
    for first, second in itertools.combinations(ATTENTIONS, 2):
        assert not torch.allclose(gate(first)(x), gate(second)(x)), (first, second)
