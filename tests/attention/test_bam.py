import pytest
import torch

from fer_attention.attention import BAM
from tests.support.equations import (
    assert_follows,
    batch_norm,
    channel_means,
    convolution,
    sigmoid,
    two_layers,
)
from tests.support.gates import C, gate, maps, parameter_count


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_values_and_gradients_follow_the_equations(training):
    def bam(x, p):
        weights = p["channel.0.weight"], p["channel.2.weight"], p["channel.0.bias"]
        channel = batch_norm(two_layers(channel_means(x), *weights), p, "channel.3", training)
        z = x
        for layer, dilation in (("0", 1), ("2", 4), ("4", 4)):
            z = convolution(z, p[f"spatial.{layer}.weight"], p[f"spatial.{layer}.bias"], dilation)
            z = z.clamp(min=0)
        spatial = batch_norm(convolution(z, p["spatial.6.weight"]), p, "spatial.7", training)
        return x + x * sigmoid(channel[:, :, None, None] + spatial)

    assert_follows(bam, gate("bam", dtype=torch.float64, reduction=4).train(training))


@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_it_has_the_parameters_of_the_paper(channels):
    hidden = channels // 16
    of_channels = 2 * channels * hidden + hidden + 2 * channels  # with b0 and a norm
    of_positions = channels * hidden + 2 * 9 * hidden**2 + 3 * hidden + hidden + 2  # biases, f3, norm
    assert parameter_count("bam", channels) == of_channels + of_positions


def test_a_dilation_below_1_is_refused():
    with pytest.raises(ValueError, match="dilation.*0"):
        BAM(16, dilation=0)


def test_it_trains_on_a_single_sample():
    block = gate("bam")
    for shape in ((1, C, 1, 1), (1, C, 6, 6)):
        block.zero_grad()
        block(maps(*shape)).sum().backward()
        assert all(p.grad.isfinite().all() for p in block.parameters())
    assert all(t.isfinite().all() for t in block.state_dict().values())
    assert not torch.equal(block.spatial[-1].running_mean, gate("bam").spatial[-1].running_mean)
