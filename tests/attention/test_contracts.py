"""The contract of every registered attention block; a new one is tested on the day it is registered."""

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fer_attention.attention import (
    ATTENTIONS,
    AttentionBlock,
    AttentionGate,
    add_attention,
    attention_options,
    create_attention,
)
from fer_attention.models import create_model, list_models
from fer_attention.registry import UnknownNameError
from tests.support.gates import C, distinct, gate, maps

EVERY = pytest.mark.parametrize("name", ATTENTIONS)
GATES = pytest.mark.parametrize("name", [n for n, c in ATTENTIONS.items() if issubclass(c, AttentionGate)])


class TestContract:
    @EVERY
    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (6, 6), (11, 5)], ids=str)
    @pytest.mark.parametrize("channels", [16, 24, 64])
    def test_the_shape_is_kept(self, name, shape, channels):
        for batch in (0, 1, 3):
            x = maps(batch, channels, *shape)
            y = gate(name, channels)(x)
            assert y.shape == x.shape
            assert y.dtype == x.dtype
            assert y.isfinite().all()

    @GATES
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("shape", [(2, C, 5, 4), (1, C, 1, 1)], ids=str)
    def test_a_gate_is_the_input_times_a_scale_within_its_bounds(self, name, shape, training):
        x = maps(*shape, dtype=torch.float64)
        block = gate(name, dtype=torch.float64).train(training)
        scale = block.scale(x)
        low, high = block.bounds
        assert torch.broadcast_shapes(scale.shape, x.shape) == x.shape
        assert scale.ndim == 4
        assert ((scale > low) & (scale < high)).all()
        torch.testing.assert_close(gate(name, dtype=torch.float64).train(training)(x), x * scale)

    @GATES
    def test_scale_depends_on_the_input(self, name):
        block = gate(name)
        first, second = block.scale(maps(1, C, 6, 6, seed=1)), block.scale(maps(1, C, 6, 6, seed=2))
        assert not torch.allclose(first, second)

    @EVERY
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_the_memory_format_is_kept(self, name, memory_format):
        x = maps(2, C, 6, 5).to(memory_format=memory_format)
        assert gate(name)(x).is_contiguous(memory_format=memory_format)
        assert gate(name).to(memory_format=memory_format)(x).is_contiguous(memory_format=memory_format)

    @EVERY
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("shape", [(1, C, 1, 1), (2, C, 3, 2)], ids=str)
    def test_constant_maps_and_maps_of_one_value_have_finite_gradients(self, name, shape, training):
        block = gate(name).train(training)
        for value in (0.0, 1.5):
            x = torch.full(shape, value, requires_grad=True)
            y = block(x)
            y.square().sum().backward()
            assert y.isfinite().all()
            assert x.grad.isfinite().all()
            assert all(p.grad.isfinite().all() for p in block.parameters())
        assert all(t.isfinite().all() for t in block.state_dict().values())

    @EVERY
    def test_evaluation_leaves_no_trace(self, name):
        block, x = gate(name).eval(), maps(2, C, 4, 4)
        before, y = {k: v.clone() for k, v in block.state_dict().items()}, block(x)
        block(maps(3, C, 2, 5, seed=8))
        assert all(torch.equal(v, before[k]) for k, v in block.state_dict().items())
        torch.testing.assert_close(block(x), y, rtol=0, atol=0)

    @EVERY
    def test_samples_of_a_batch_do_not_see_each_other(self, name):
        block, x = gate(name).eval(), maps(3, C, 6, 6)
        torch.testing.assert_close(block(x), torch.cat([block(sample[None]) for sample in x]))

    @EVERY
    def test_memory_layout_changes_no_number(self, name):
        block, x = gate(name).eval(), maps(2, C, 6, 5)
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
        assert all(t.dtype == dtype for t in tensors)
        assert block(maps(2, C, 4, 4).to(dtype)).dtype == dtype

    @EVERY
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)], ids=str)
    @pytest.mark.parametrize("scale", [1, 20])
    def test_half_precision_stays_near_the_truth(self, name, scale, dtype, tolerance):
        block = gate(name, 64).eval().to(dtype)
        x = (maps(2, 64, 28, 28) * scale + scale).to(dtype)
        truth = copy.deepcopy(block).double()(x.double())
        assert (block(x).double() - truth).abs().max() <= tolerance * truth.abs().max()

    @EVERY
    @pytest.mark.parametrize("scale", [300, 3000])
    def test_great_values_in_float16_give_no_infinity(self, name, scale):
        x = (maps(2, C, 14, 14) * scale + scale).half()
        assert gate(name).eval().half()(x).isfinite().all()

    @EVERY
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_autocast_leaves_the_map_its_type(self, name, dtype):
        x = maps(2, C, 6, 6).to(dtype)
        with torch.autocast("cpu", torch.bfloat16):
            assert gate(name)(x).dtype == dtype

    @EVERY
    def test_device_reaches_every_tensor(self, name):
        block = gate(name, device="meta")
        tensors = list(block.state_dict().values())
        assert all(t.device.type == "meta" for t in tensors)
        assert block(torch.empty(2, C, 4, 4, device="meta")).shape == (2, C, 4, 4)

    @EVERY
    @pytest.mark.parametrize("training", [True, False])
    def test_gradients_are_right(self, name, training):
        block = gate(name, 16, dtype=torch.float64).train(training)
        x = distinct(2, 16, 3, 4).requires_grad_()
        torch.manual_seed(0)  # the fast mode projects on random directions
        names = [parameter_name for parameter_name, _ in block.named_parameters()]
        values = [p.detach().clone().requires_grad_() for p in block.parameters()]

        def run(x, *values):
            return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)

    @EVERY
    def test_every_parameter_gets_a_gradient(self, name):
        block = gate(name, 64)
        block(maps(8, 64, 5, 5).requires_grad_()).square().sum().backward()
        for parameter_name, parameter in block.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name

    @EVERY
    def test_a_state_dict_carries_everything(self, name):
        x = maps(2, C, 6, 6)
        first, second = gate(name, seed=1).eval(), gate(name, seed=2).eval()
        assert torch.equal(first(x), second(x)) == (not first.state_dict())
        second.load_state_dict(first.state_dict())
        torch.testing.assert_close(second(x), first(x), rtol=0, atol=0)

    @EVERY
    def test_a_block_says_that_it_is_one(self, name):
        block = gate(name)
        assert isinstance(block, AttentionBlock)
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


@pytest.mark.parametrize("name", ["se", "eca", "gct"])
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


def test_a_block_registered_by_a_user_is_in_every_name_at_once(open_registries):

    @ATTENTIONS.register("half")
    class HalfBlock(AttentionGate):
        """Halves its input."""

        def __init__(self, channels, *, share=0.5, device=None, dtype=None):
            super().__init__(channels)
            self.share = share

        def scale(self, x):
            return x.new_full((x.shape[0], self.channels, 1, 1), self.share)

    assert "vgg16_half_elu" in list_models("vgg16_half*")
    model = create_model("resnetv2_18_half_elu", width=0.25, attention_options={"share": 0.25}).eval()
    assert [m.share for m in model.modules() if isinstance(m, HalfBlock)] == [0.25] * 8
    assert model(torch.zeros(1, 1, 48, 48)).shape == (1, 7)
    assert add_attention(nn.Sequential(nn.Conv2d(3, 8, 3)), "half", after="0") == 1
