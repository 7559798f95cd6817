"""The contract of every registered attention block; a new one is tested on the day it is registered."""

import itertools
import math

import pytest
import torch
from gates import C, distinct, gate, maps
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fer_attention.attention import (
    ATTENTIONS,
    AttentionGate,
    ECABlock,
    add_attention,
    attention_options,
    create_attention,
    eca_kernel_size,
)
from fer_attention.models import create_model, list_models
from fer_attention.registry import UnknownNameError

EVERY = pytest.mark.parametrize("name", ATTENTIONS)


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


@pytest.mark.parametrize("name", ["se", "eca"])
@settings(max_examples=30)
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


def test_no_two_blocks_compute_the_same():
    x = maps(2, C, 6, 6)
    for first, second in itertools.combinations(ATTENTIONS, 2):
        assert not torch.allclose(gate(first)(x), gate(second)(x)), (first, second)


def test_a_block_registered_by_a_user_is_in_every_name_at_once(monkeypatch):
    monkeypatch.setattr(ATTENTIONS, "_entries", dict(ATTENTIONS._entries))

    @ATTENTIONS.register("half")
    class HalfBlock(AttentionGate):
        """Halves its input."""

        def __init__(self, channels, *, share=0.5, device=None, dtype=None):
            super().__init__(channels)
            self.share = share

        def weights(self, x):
            return x.new_full((x.shape[0], self.channels, 1, 1), self.share)

    assert "vgg16_half_elu" in list_models("vgg16_half*")
    model = create_model("resnetv2_18_half_elu", width=0.25, attention_options={"share": 0.25}).eval()
    assert [m.share for m in model.modules() if isinstance(m, HalfBlock)] == [0.25] * 8
    assert model(torch.zeros(1, 1, 48, 48)).shape == (1, 7)
    assert add_attention(nn.Sequential(nn.Conv2d(3, 8, 3)), "half", after="0") == 1
