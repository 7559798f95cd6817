"""Options of the blocks: what is taken, what is refused, and how many parameters follow."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.attention import (
    ATTENTIONS,
    ECABlock,
    attention_options,
    create_attention,
    eca_kernel_size,
)
from tests.support.gates import C, maps

LEAST = {"coord": 8, "gc": 4}
"""Blocks whose hidden width has a floor."""


def with_option(option):
    return [name for name in ATTENTIONS if option in attention_options(name)]


class TestOptions:
    @pytest.mark.parametrize("name", sorted(set(with_option("reduction")) - set(LEAST)))
    @pytest.mark.parametrize(("channels", "reduction"), [(8, 16), (16, 17), (16, 0), (16, -4)])
    def test_a_reduction_to_no_hidden_channel_is_refused_with_both_numbers(self, name, channels, reduction):
        with pytest.raises(ValueError, match=f"reduction={reduction} .*channels={channels}"):
            create_attention(name, channels, reduction=reduction)

    @pytest.mark.parametrize("name", with_option("reduction"))
    @pytest.mark.parametrize("reduction", [1, 5, 16, 48])
    def test_the_hidden_width_is_channels_over_reduction_rounded_down_or_the_floor(self, name, reduction):
        hidden = max(48 // reduction, LEAST.get(name, 0))
        shapes = [tuple(p.shape[:2]) for p in create_attention(name, 48, reduction=reduction).parameters()]
        assert (hidden, 48) in shapes
        assert (48, hidden) in shapes or (hidden, hidden) in shapes

    @pytest.mark.parametrize("name", LEAST)
    def test_a_floor_holds_for_narrow_maps_and_bad_reductions_are_still_refused(self, name):
        narrow = create_attention(name, 16)
        assert (LEAST[name], 16) in [tuple(p.shape[:2]) for p in narrow.parameters()]
        for reduction in (0, -4):
            with pytest.raises(ValueError, match=f"reduction={reduction} .*channels=16"):
                create_attention(name, 16, reduction=reduction)

    @pytest.mark.parametrize("name", with_option("kernel_size"))
    @pytest.mark.parametrize("kernel_size", [0, 2, 8, -1])
    def test_an_even_kernel_is_refused_with_its_number(self, name, kernel_size):
        with pytest.raises(ValueError, match=f"odd.*{kernel_size}"):
            create_attention(name, C, kernel_size=kernel_size)

    @pytest.mark.parametrize("name", with_option("kernel_size"))
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
        ("option", "wrong"),
        [
            ({"eca_kernel_size": 4}, "eca_kernel_size must be odd.*4"),
            ({"eca_gamma": 0}, "gamma=0"),
            ({"kernel_size": 2}, "kernel_size must be odd.*2"),
        ],
    )
    def test_ecbam_tells_its_two_kernels_apart(self, option, wrong):
        with pytest.raises(ValueError, match=wrong):
            create_attention("ecbam", 64, **option)
        block = create_attention("ecbam", 64, kernel_size=3, eca_kernel_size=9)
        assert (block.spatial.conv.kernel_size, block.channel.conv.kernel_size) == ((3, 3), (9,))
        assert create_attention("ecbam", 64, eca_gamma=1, eca_b=2).channel.conv.kernel_size == (9,)

    @pytest.mark.parametrize(("channels", "groups"), [(16, 3), (48, 64), (64, 0), (64, -1)])
    def test_sge_refuses_groups_that_do_not_divide_the_channels_with_both_numbers(self, channels, groups):
        with pytest.raises(ValueError, match=f"groups={groups} .*channels={channels}"):
            create_attention("sge", channels, groups=groups)

    def test_sge_takes_the_paper_s_64_groups_wherever_they_fit(self):
        groups = {c: create_attention("sge", c).groups for c in (8, 16, 40, 64, 96, 512, 2048)}
        assert groups == {8: 8, 16: 16, 40: 8, 64: 64, 96: 32, 512: 64, 2048: 64}
        assert create_attention("sge", 48, groups=6).groups == 6

    @pytest.mark.parametrize("wrong", [0, -1e-4, math.nan])
    def test_simam_refuses_a_lambda_that_is_not_above_0(self, wrong):
        with pytest.raises(ValueError, match=f"energy_lambda.*{wrong}"):
            create_attention("simam", 16, energy_lambda=wrong)

    def test_bam_refuses_a_dilation_below_1(self):
        with pytest.raises(ValueError, match="dilation.*0"):
            create_attention("bam", 16, dilation=0)


def perceptron(c, hidden):
    """Weights of two layers, c to hidden to c, without biases."""
    return 2 * c * hidden


ECA_KERNEL = {64: 3, 512: 5, 2048: 7}
COUNTS = {
    "se": lambda c: perceptron(c, c // 16) + c // 16 + c,  # with biases: 33,312 at 512
    "eca": lambda c: ECA_KERNEL[c],
    "cbam": lambda c: perceptron(c, c // 16) + 2 * 7 * 7,  # without biases
    "ecbam": lambda c: ECA_KERNEL[c] + 2 * 7 * 7,
    "coord": lambda c: 3 * c * max(8, c // 32) + 2 * max(8, c // 32) + 2 * c,  # three layers; norm; biases
    "simam": lambda c: 0,
    "sge": lambda c: 2 * 64,
    "gct": lambda c: 3 * c,
    "bam": lambda c: (
        (perceptron(c, c // 16) + c // 16 + 2 * c)  # channels: with b0 and a norm
        + (c * (c // 16) + 2 * 9 * (c // 16) ** 2 + 3 * (c // 16) + c // 16 + 2)
    ),  # positions: biases, f3, norm
    "triplet": lambda c: 3 * (2 * 7 * 7 + 2),
    "gc": lambda c: c + perceptron(c, c // 16) + 3 * (c // 16) + c,  # key; two layers; norm and biases
}
"""How many parameters each block has for c channels, counted by hand from its paper."""


@pytest.mark.parametrize("channels", [64, 512, 2048])
@pytest.mark.parametrize("name", ATTENTIONS)
def test_parameters_are_as_many_as_the_papers_say(name, channels):
    block = create_attention(name, channels, device="meta")
    assert sum(p.numel() for p in block.parameters()) == COUNTS[name](channels)


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
