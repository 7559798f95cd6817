"""Contracts of all registered attention blocks; they also cover a new one.

Equations, timm parity and special options of a block are in the file of its name.
"""

import copy
import inspect
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fer_attention.attention import (
    ATTENTIONS,
    CONTROLS,
    AttentionBlock,
    AttentionGate,
    add_attention,
    attention_options,
    create_attention,
)
from fer_attention.models import build_model, create_model, list_models, load_weights, save_weights
from fer_attention.registry import UnknownNameError
from tests.support.gates import OPEN, C, awake, distinct, fresh, gate, maps, named

PUBLISHED_GATES = [name for name, block in ATTENTIONS.items() if issubclass(block, AttentionGate)]

NAMED = pytest.mark.parametrize("name", ATTENTIONS)
EVERY = pytest.mark.parametrize("name", [*ATTENTIONS, *OPEN, *CONTROLS])
GATES = pytest.mark.parametrize("name", [*PUBLISHED_GATES, *OPEN, *CONTROLS])

LEAST = {"coord": 8, "gc": 4}
"""Blocks whose hidden width has a minimum."""

LATE = {
    "gct": {"alpha"},
    "gc": {"key.weight", "fc1.weight", "fc1.bias", "norm.weight", "norm.bias"},
    "se-open": {"fc1.weight", "fc1.bias"},
    "cbam-open": {"channel.fc1.weight"},
    "coord-open": {"conv1.weight", "bn1.weight", "bn1.bias"},
    "triplet-open": {"cw.0.weight", "ch.0.weight", "hw.0.weight"},
}
"""Parameters before others that start at zero: they get no gradient in the first step."""


def with_option(option):
    return [name for name in ATTENTIONS if option in attention_options(name)]


class TestContract:
    @EVERY
    @pytest.mark.parametrize("channels", [16, 24, 64])
    def test_it_preserves_the_shape(self, name, channels):
        for batch, shape in itertools.product((0, 1, 3), [(1, 1), (1, 7), (2, 3), (6, 6), (11, 5)]):
            x = maps(batch, channels, *shape)
            y = gate(name, channels)(x)
            assert y.shape == x.shape
            assert y.dtype == x.dtype
            assert y.isfinite().all(), (batch, shape)

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

    @pytest.mark.parametrize("name", [*PUBLISHED_GATES, *OPEN])
    def test_the_scale_depends_on_the_input(self, name):
        block = gate(name)
        first, second = block.scale(maps(1, C, 6, 6, seed=1)), block.scale(maps(1, C, 6, 6, seed=2))
        assert not torch.allclose(first, second)

    @EVERY
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_it_preserves_the_memory_format(self, name, memory_format):
        x = maps(2, C, 6, 5).to(memory_format=memory_format)
        assert gate(name)(x).is_contiguous(memory_format=memory_format)
        assert gate(name).to(memory_format=memory_format)(x).is_contiguous(memory_format=memory_format)

    @EVERY
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("shape", [(1, C, 1, 1), (2, C, 3, 2)], ids=str)
    def test_constant_maps_and_single_values_have_finite_gradients(self, name, shape, training):
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
    def test_evaluation_changes_no_state(self, name):
        block, x = gate(name).eval(), maps(2, C, 4, 4)
        before, y = {k: v.clone() for k, v in block.state_dict().items()}, block(x)
        block(maps(3, C, 2, 5, seed=8))
        assert all(torch.equal(v, before[k]) for k, v in block.state_dict().items())
        torch.testing.assert_close(block(x), y, rtol=0, atol=0)

    @EVERY
    def test_samples_of_a_batch_are_independent_in_evaluation(self, name):
        block, x = gate(name).eval(), maps(3, C, 6, 6)
        torch.testing.assert_close(block(x), torch.cat([block(sample[None]) for sample in x]))

    @EVERY
    def test_the_output_does_not_depend_on_the_memory_layout(self, name):
        block, x = gate(name).eval(), maps(2, C, 6, 5)
        expected = block(x)
        torch.testing.assert_close(block(x.to(memory_format=torch.channels_last)), expected)
        wide = maps(2, 2 * C, 12, 5, seed=9)
        wide[:, ::2, ::2] = x
        view = wide[:, ::2, ::2]
        assert not view.is_contiguous()
        torch.testing.assert_close(block(view), expected)

    @EVERY
    def test_it_does_not_change_its_input(self, name):
        x = maps(2, C, 4, 4)
        before = x.clone()
        gate(name)(x)
        torch.testing.assert_close(x, before, rtol=0, atol=0)

    @EVERY
    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
    def test_it_has_the_requested_dtype(self, name, dtype):
        block = gate(name, dtype=dtype)
        tensors = [t for t in block.state_dict().values() if t.is_floating_point()]
        assert all(t.dtype == dtype for t in tensors)
        assert block(maps(2, C, 4, 4).to(dtype)).dtype == dtype

    @EVERY
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)], ids=str)
    @pytest.mark.parametrize("scale", [1, 20])
    def test_half_precision_is_close_to_double_precision(self, name, scale, dtype, tolerance):
        block = gate(name, 64).eval().to(dtype)
        x = (maps(2, 64, 28, 28) * scale + scale).to(dtype)
        truth = copy.deepcopy(block).double()(x.double())
        tolerance *= 2 if name in OPEN else 1  # the maps that a second gate reads are up to twice as large
        assert (block(x).double() - truth).abs().max() <= tolerance * truth.abs().max()

    @EVERY
    @pytest.mark.parametrize("scale", [300, 3000])
    def test_large_values_do_not_overflow_in_float16(self, name, scale):
        x = (maps(2, C, 14, 14) * scale + scale).half()
        assert gate(name).eval().half()(x).isfinite().all()

    @EVERY
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_autocast_preserves_the_type_of_the_map(self, name, dtype):
        x = maps(2, C, 6, 6).to(dtype)
        with torch.autocast("cpu", torch.bfloat16):
            assert gate(name)(x).dtype == dtype

    @EVERY
    def test_it_has_the_requested_device(self, name):
        block = gate(name, device="meta")
        tensors = list(block.state_dict().values())
        assert all(t.device.type == "meta" for t in tensors)
        assert block(torch.empty(2, C, 4, 4, device="meta")).shape == (2, C, 4, 4)

    @EVERY
    @pytest.mark.parametrize("training", [True, False])
    def test_gradients_are_those_of_finite_differences(self, name, training):
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
    def test_a_state_dict_restores_the_block(self, name):
        x = maps(2, C, 6, 6)
        first, second = gate(name, seed=1).eval(), gate(name, seed=2).eval()
        assert torch.equal(first(x), second(x)) == (not first.state_dict())
        second.load_state_dict(first.state_dict())
        torch.testing.assert_close(second(x), first(x), rtol=0, atol=0)

    @EVERY
    def test_it_is_marked_as_an_attention_block(self, name):
        block = gate(name)
        assert isinstance(block, AttentionBlock)
        assert block.is_attention_gate is True
        assert block.channels == C

    @NAMED
    def test_an_unknown_option_is_refused_and_the_known_ones_are_listed(self, name):
        with pytest.raises(TypeError, match=f"'{name}' has no option 'reductoin'") as caught:
            create_attention(name, C, reductoin=4)
        assert all(option in str(caught.value) for option in attention_options(name))

    @NAMED
    def test_a_number_of_another_type_is_refused(self, name):
        for option, parameter in inspect.signature(ATTENTIONS[name]).parameters.items():
            if str(parameter.annotation).split(" ")[0] in ("int", "float") and option != "channels":
                with pytest.raises(ValueError, match=f"{option} of attention '{name}' is an? .*got 'x'"):
                    create_attention(name, C, **{option: "x"})

    @NAMED
    def test_options_are_keyword_only(self, name):
        with pytest.raises(TypeError, match="positional"):
            ATTENTIONS[name](C, 16)

    @EVERY
    def test_a_map_of_another_shape_is_refused_with_both_shapes(self, name):
        block = gate(name)
        for shape in ((2, C + 1, 4, 4), (2, 1, 4, 4), (C, 4, 4), (2, C), (2, C, 4, 4, 4)):
            with pytest.raises(ValueError, match=rf"\(N, {C}, H, W\)") as caught:
                block(torch.zeros(shape))
            assert str(shape) in str(caught.value)

    @EVERY
    @pytest.mark.parametrize("channels", [0, -3])
    def test_a_channel_count_below_1_is_refused(self, name, channels):
        with pytest.raises(ValueError, match=f"channels={channels}"):
            fresh(name, channels)

    def test_an_unknown_name_is_refused_with_the_nearest_one(self):
        with pytest.raises(
            UnknownNameError, match=r"Unknown attention 'cbma'. Did you mean 'cbam'\?.*eca.*se"
        ):
            create_attention("cbma", 64)


class TestOptions:
    @pytest.mark.parametrize("name", sorted(set(with_option("reduction")) - set(LEAST)))
    @pytest.mark.parametrize(("channels", "reduction"), [(8, 16), (16, 17), (16, 0), (16, -4)])
    def test_a_reduction_to_no_hidden_channel_is_refused(self, name, channels, reduction):
        with pytest.raises(ValueError, match=f"reduction={reduction} .*channels={channels}"):
            create_attention(name, channels, reduction=reduction)

    @pytest.mark.parametrize("name", with_option("reduction"))
    @pytest.mark.parametrize("reduction", [1, 5, 16, 48])
    def test_the_hidden_width_is_channels_over_reduction_or_its_minimum(self, name, reduction):
        hidden = max(48 // reduction, LEAST.get(name, 0))
        shapes = [tuple(p.shape[:2]) for p in create_attention(name, 48, reduction=reduction).parameters()]
        assert (hidden, 48) in shapes
        assert (48, hidden) in shapes or (hidden, hidden) in shapes

    @pytest.mark.parametrize("name", LEAST)
    def test_a_minimum_width_allows_narrow_maps_but_no_bad_reduction(self, name):
        narrow = create_attention(name, 16)
        assert (LEAST[name], 16) in [tuple(p.shape[:2]) for p in narrow.parameters()]
        for reduction in (0, -4):
            with pytest.raises(ValueError, match=f"reduction={reduction} .*channels=16"):
                create_attention(name, 16, reduction=reduction)

    @pytest.mark.parametrize("name", with_option("hidden_floor"))
    def test_a_floor_widens_the_perceptrons_of_narrow_maps_alone(self, name):
        for channels, hidden in ((4, 8), (16, 8), (64, 8), (256, 16)):
            shapes = [
                tuple(p.shape[:2]) for p in create_attention(name, channels, hidden_floor=8).parameters()
            ]
            assert (hidden, channels) in shapes
            assert (channels, hidden) in shapes
        with pytest.raises(ValueError, match="hidden_floor .* got -1"):
            create_attention(name, 64, hidden_floor=-1)

    @pytest.mark.parametrize("name", with_option("kernel_size"))
    @pytest.mark.parametrize("kernel_size", [0, 2, 8, -1])
    def test_a_kernel_size_that_is_not_odd_and_positive_is_refused(self, name, kernel_size):
        with pytest.raises(ValueError, match=f"odd.*{kernel_size}"):
            create_attention(name, C, kernel_size=kernel_size)

    @pytest.mark.parametrize("name", with_option("kernel_size"))
    @pytest.mark.parametrize("kernel_size", [1, 3, 9])
    def test_the_kernel_has_the_given_size(self, name, kernel_size):
        block = create_attention(name, C, kernel_size=kernel_size)
        assert any(p.shape[-1] == kernel_size for p in block.parameters())
        assert block(maps(1, C, 3, 3)).shape == (1, C, 3, 3)


@pytest.mark.parametrize("name", OPEN)
class TestOpenStart:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
    def test_a_new_gate_is_exactly_1(self, name, dtype, training):
        implementations = ("plain", "fused") if "implementation" in attention_options(named(name)[0]) else ()
        for options in [{"implementation": one} for one in implementations] or [{}]:
            block = fresh(name, dtype=dtype, **options).train(training)
            x = maps(2, C, 9, 7).to(dtype)
            assert (block.scale(x) - 1).abs().max() == 0
            assert torch.equal(block(x), x)
            assert torch.equal(block.residual(x, x.flip(0)), x + x.flip(0))

    def test_a_trained_gate_goes_beyond_1(self, name):
        scale = gate(name).scale(maps(4, C, 6, 6))
        assert scale.min() < 1 < scale.max()

    def test_parameters_are_those_of_a_published_gate(self, name):
        block, published = fresh(name), fresh(named(name)[0])
        published.load_state_dict(block.state_dict())
        assert (block.start, published.start) == ("open", "published")

    def test_the_start_is_shown_and_checked(self, name):
        assert "start='open'" in repr(fresh(name))
        assert "start" not in repr(fresh(named(name)[0]))
        with pytest.raises(ValueError, match="Unknown start 'opened'. Did you mean 'open'"):
            create_attention(named(name)[0], C, start="opened")

    @pytest.mark.parametrize("backbone", ["resnet18", "resnetv2_18"])
    def test_a_new_model_computes_what_it_would_without_attention(self, name, backbone):
        block, options = named(name)
        gated = build_model(backbone, attention=block, attention_options=options, width=0.25, stem="half")
        plain = build_model(backbone, width=0.25, stem="half")
        plain.load_state_dict({key: t for key, t in gated.state_dict().items() if ".attn." not in key})
        x = maps(2, 1, 48, 48)
        torch.testing.assert_close(gated.eval()(x), plain.eval()(x), rtol=0, atol=0)


class TestControls:
    def test_they_are_built_by_name_and_listed_nowhere(self):
        for name in CONTROLS:
            model = create_model(f"resnetv2_18_{name}_elu", width=0.25)
            assert model.spec.name == f"resnetv2_18_{name}_elu"
            assert [type(m) for m in model.modules() if isinstance(m, CONTROLS[name])] == [CONTROLS[name]] * 8
            assert not list_models(f"*_{name}*")
            assert name not in ATTENTIONS
            with pytest.raises(UnknownNameError) as unknown:
                create_attention("unknown", 8)
            assert name not in str(unknown.value)

    def test_neither_scale_depends_on_the_input(self):
        for name in CONTROLS:
            block = fresh(name)
            torch.testing.assert_close(block.scale(maps(2, C, 4, 4)), block.scale(maps(2, C, 4, 4, seed=1)))

    def test_a_new_constant_is_1_and_half_is_one_half(self):
        x = maps(2, C, 4, 4)
        assert torch.equal(fresh("constant")(x), x)
        assert torch.equal(fresh("half")(x), x / 2)


class TestStart:
    @EVERY
    def test_a_new_block_trains_except_before_zero_weights(self, name):
        torch.manual_seed(0)
        block = fresh(name, 64)
        optimiser = torch.optim.SGD([*block.parameters(), torch.zeros(1, requires_grad=True)], lr=0.001)
        for late in (LATE.get(name, set()), set()):
            optimiser.zero_grad()
            (block(maps(8, 64, 5, 5).requires_grad_()) * maps(8, 64, 5, 5, seed=1)).sum().backward()
            without = {key for key, p in block.named_parameters() if not p.grad.abs().sum() > 0}
            assert without == late
            optimiser.step()

    @EVERY
    @pytest.mark.parametrize("backbone", ["resnet18", "resnetv2_18", "vgg11_bn"])
    def test_a_model_does_not_initialise_its_blocks(self, backbone, name):
        """The backbone's own initialisation (He, zero biases) skips its blocks."""
        made = []

        def create(*arguments, **options):
            made.append((block := create_attention(*arguments, **options), copy.deepcopy(block.state_dict())))
            return block

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fer_attention.models.base.create_attention", create)
            block, options = named(name)
            model = build_model(backbone, attention=block, attention_options=options, width=0.25)
        placed = [module for path, module in model.named_modules() if path.split(".")[-1] == "attn"]
        assert [block for block, _ in made] == placed
        for block, start in made:
            torch.testing.assert_close(dict(block.state_dict()), dict(start), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["bam", "coord", "triplet"])
def test_an_empty_batch_does_not_change_running_statistics(name):
    block = gate(name).train()
    before = copy.deepcopy(block.state_dict())
    assert block(maps(0, C, 4, 4)).shape == (0, C, 4, 4)
    for key, tensor in block.state_dict().items():
        if "running" in key:
            torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


@EVERY
def test_a_model_with_a_block_is_saved_and_loaded(name, tmp_path):
    torch.manual_seed(0)
    block, options = named(name)
    model = awake(create_model(f"resnet18_{block}", attention_options=options, width=0.25)).eval()
    loaded = load_weights(save_weights(model, tmp_path / "w.safetensors"))
    x = maps(2, 1, 48, 48)
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)
    assert loaded.spec.attention_options == options


def test_every_block_has_a_test_file_of_its_own():
    assert not [name for name in ATTENTIONS if not (Path(__file__).parent / f"test_{name}.py").is_file()]


@pytest.mark.parametrize("name", ["se", "eca", "gct"])
@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), height=st.integers(1, 7), width=st.integers(1, 7))
def test_channel_gates_do_not_depend_on_the_order_of_pixels(name, seed, height, width):
    block = gate(name, dtype=torch.float64)
    x = maps(2, C, height, width, seed=seed, dtype=torch.float64)
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))

    def shuffled(t):
        return t.flatten(2)[:, :, order].reshape(t.shape)

    torch.testing.assert_close(block(shuffled(x)), shuffled(block(x)))


def test_all_blocks_compute_different_outputs():
    x = maps(2, C, 6, 6)
    for first, second in itertools.combinations(ATTENTIONS, 2):
        assert not torch.allclose(gate(first)(x), gate(second)(x)), (first, second)


def _not_a_module(channels, device=None, dtype=None):
    return nn.Identity()


class _NoBase(nn.Module):
    def __init__(self, channels, *, device=None, dtype=None):
        super().__init__()


class _NoDevice(AttentionGate):
    def __init__(self, channels, *, gain=1.0):
        super().__init__(channels)


class _NoType(AttentionGate):
    def __init__(self, channels, *, device=None):
        super().__init__(channels)


class _NoDefault(AttentionGate):
    def __init__(self, channels, gain, *, device=None, dtype=None):
        super().__init__(channels)


class _OtherFirst(AttentionGate):
    def __init__(self, width=8, *, device=None, dtype=None):
        super().__init__(width)


@pytest.mark.parametrize("registry", [ATTENTIONS, CONTROLS], ids=["attention", "control"])
@pytest.mark.parametrize(
    ("block", "message"),
    [
        (_not_a_module, "is not a subclass of AttentionBlock"),
        (_NoBase, "is not a subclass of AttentionBlock"),
        (_NoDevice, "_NoDevice has no parameter device and no dtype"),
        (_NoType, "_NoType has no parameter dtype"),
        (_NoDefault, "_NoDefault has no default for gain"),
        (_OtherFirst, "the first parameter of _OtherFirst is 'width', not 'channels'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_block_that_breaks_the_contract_cannot_be_registered(block, message, registry):
    with pytest.raises(TypeError, match=f"'mine' cannot be registered: .*{message}") as caught:
        registry.register("mine")(block)
    assert "Block(channels, *, options with defaults, device=None, dtype=None)" in str(caught.value)
    assert "mine" not in registry


def test_a_block_of_a_user_is_available_in_all_model_names(open_registries):

    @ATTENTIONS.register("half")
    class HalfBlock(AttentionGate):
        """Scale the input by a constant."""

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
