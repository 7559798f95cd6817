import pytest
import timm
import torch

from tests.support.equations import (
    assert_follows,
    assert_same_as_timm,
    channel_means,
    sigmoid,
    two_layers,
)
from tests.support.gates import gate, parameter_count


@pytest.mark.parametrize("reduction", [4, 16])
def test_values_and_gradients_follow_the_equations(reduction):
    def se(x, p):
        logits = two_layers(channel_means(x), p["fc1.weight"], p["fc2.weight"], p["fc1.bias"], p["fc2.bias"])
        return torch.einsum("nc,nchw->nchw", sigmoid(logits), x)

    assert_follows(se, gate("se", dtype=torch.float64, reduction=reduction))


@pytest.mark.parametrize("reduction", [4, 16])
def test_it_matches_timm_with_the_same_weights(reduction):
    theirs = timm.layers.SEModule(64, rd_channels=64 // reduction, bias=True)
    assert_same_as_timm(gate("se", 64, reduction=reduction), theirs)


@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_it_has_the_parameters_of_the_paper(channels):
    hidden = channels // 16
    assert parameter_count("se", channels) == 2 * channels * hidden + hidden + channels
