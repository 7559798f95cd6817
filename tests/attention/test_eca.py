import math

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.attention import ECABlock, eca_kernel_size
from tests.support.equations import (
    assert_follows,
    assert_same_as_timm,
    channel_means,
    over_neighbours,
    sigmoid,
)
from tests.support.gates import gate, parameter_count


@pytest.mark.parametrize("kernel_size", [None, 1, 5, 9])
def test_values_and_gradients_follow_the_equations(kernel_size):
    def eca(x, p):
        return x * sigmoid(over_neighbours(channel_means(x), p["conv.weight"]))[:, :, None, None]

    assert_follows(eca, gate("eca", dtype=torch.float64, kernel_size=kernel_size))


def test_it_matches_timm_with_the_same_weights():
    assert_same_as_timm(gate("eca", 64), timm.layers.EcaModule(64))
    assert_same_as_timm(gate("eca", 64, kernel_size=7), timm.layers.EcaModule(kernel_size=7))


@pytest.mark.parametrize(("channels", "kernel"), [(64, 3), (512, 5), (2048, 7)])
def test_it_has_the_parameters_of_the_paper(channels, kernel):
    assert parameter_count("eca", channels) == kernel


@pytest.mark.parametrize("gamma", [0, -1])
def test_a_gamma_that_is_not_positive_is_refused(gamma):
    with pytest.raises(ValueError, match=f"gamma={gamma}"):
        ECABlock(64, gamma=gamma)


def kernel_by_integers(channels):
    """|log2(C)/2 + 1/2| without a logarithm: its floor is the largest m with 2^(2m-1) <= C."""
    m = 0
    while 2 ** (2 * (m + 1) - 1) <= channels:
        m += 1
    return m | 1


def test_the_adaptive_kernel_is_that_of_the_paper_for_all_channel_counts():
    assert [eca_kernel_size(c) for c in range(1, 4097)] == [kernel_by_integers(c) for c in range(1, 4097)]


@given(
    st.integers(1, 4096),
    st.floats(0.25, 8, allow_nan=False),
    st.floats(-20, 20, allow_nan=False),
)
def test_the_adaptive_kernel_is_odd_and_positive_for_any_gamma_and_b(channels, gamma, b):
    k = eca_kernel_size(channels, gamma=gamma, b=b)
    exact = abs((math.log2(channels) + b) / gamma)
    assert k % 2 == 1
    assert k >= 1
    assert -1e-9 <= exact - k + 1 <= 2  # at most one above, less than two below
