import pytest
import torch

from fer_attention.attention import ECBAM
from tests.support.equations import assert_follows, channel_means, over_neighbours, sigmoid, spatially_gated
from tests.support.gates import gate, parameter_count


@pytest.mark.parametrize("options", [{}, {"kernel_size": 3, "eca_kernel_size": 7}], ids=str)
def test_values_and_gradients_follow_the_equations(options):
    def ecbam(x, p):
        scale = sigmoid(over_neighbours(channel_means(x), p["channel.conv.weight"]))
        return spatially_gated(x * scale[:, :, None, None], p["spatial.conv.weight"])

    assert_follows(ecbam, gate("ecbam", dtype=torch.float64, **options))


@pytest.mark.parametrize(("channels", "kernel"), [(64, 3), (512, 5), (2048, 7)])
def test_it_has_the_parameters_of_its_two_gates(channels, kernel):
    assert parameter_count("ecbam", channels) == kernel + 2 * 7 * 7


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"eca_kernel_size": 4}, "eca_kernel_size must be odd.*4"),
        ({"eca_gamma": 0}, "gamma=0"),
        ({"kernel_size": 2}, "kernel_size must be odd.*2"),
    ],
)
def test_a_bad_option_is_refused_by_its_name(option, message):
    with pytest.raises(ValueError, match=message):
        ECBAM(64, **option)


def test_each_gate_has_its_own_kernel_options():
    block = ECBAM(64, kernel_size=3, eca_kernel_size=9)
    assert (block.spatial.conv.kernel_size, block.channel.conv.kernel_size) == ((3, 3), (9,))
    assert ECBAM(64, eca_gamma=1, eca_b=2).channel.conv.kernel_size == (9,)
