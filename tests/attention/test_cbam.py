import pytest
import torch
from timm.layers.cbam import ChannelAttn

from fer_attention.attention import CBAMChannelGate, CBAMSpatialGate
from tests.support.equations import (
    X,
    assert_follows,
    assert_same_as_timm,
    channel_means,
    sigmoid,
    spatially_gated,
    two_layers,
)
from tests.support.gates import C, gate, maps, parameter_count


def channel_gated(x, w0, w1):
    """CBAM's channel gate (eq. 2) applied to a map."""
    logits = two_layers(channel_means(x), w0, w1) + two_layers(x.flatten(2).max(-1).values, w0, w1)
    return torch.einsum("nc,nchw->nchw", sigmoid(logits), x)


@pytest.mark.parametrize("reduction", [4, 8])
def test_the_channel_gate_follows_its_equation(reduction):
    torch.manual_seed(0)
    block = CBAMChannelGate(C, reduction=reduction, dtype=torch.float64)
    assert_follows(lambda x, p: channel_gated(x, p["fc1.weight"], p["fc2.weight"]), block)


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_the_spatial_gate_follows_its_equation(kernel_size):
    torch.manual_seed(0)
    block = CBAMSpatialGate(C, kernel_size=kernel_size, dtype=torch.float64)
    assert_follows(lambda x, p: spatially_gated(x, p["conv.weight"]), block)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_the_spatial_gate_reads_the_map_that_the_channel_gate_refined(kernel_size):
    def cbam(x, p):
        refined = channel_gated(x, p["channel.fc1.weight"], p["channel.fc2.weight"])
        return spatially_gated(refined, p["spatial.conv.weight"])

    block = gate("cbam", dtype=torch.float64, reduction=8, kernel_size=kernel_size)
    assert_follows(cbam, block)
    # the published code of the FER paper reads the spatial scale from the input of the block
    of_the_input = block.spatial.scale(X) * block.channel(X)
    assert not torch.allclose(of_the_input, block(X))


def test_the_channel_gate_matches_timm_with_the_same_weights():
    torch.manual_seed(0)
    assert_same_as_timm(CBAMChannelGate(64, reduction=8), ChannelAttn(64, rd_channels=8))


@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_it_has_the_parameters_of_the_paper(channels):
    assert parameter_count("cbam", channels) == 2 * channels * (channels // 16) + 2 * 7 * 7


def test_it_depends_on_the_positions_of_pixels():
    block, x = gate("cbam"), maps(2, C, 6, 6)
    turned = x.flip(-1).transpose(-1, -2)
    assert not torch.allclose(block(turned), block(x).flip(-1).transpose(-1, -2))
