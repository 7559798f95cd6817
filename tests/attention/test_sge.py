import pytest
import torch

from fer_attention.attention import SGEBlock
from tests.support.equations import assert_follows, sigmoid
from tests.support.gates import C, gate, maps, parameter_count


@pytest.mark.parametrize("options", [{}, {"groups": 4}], ids=str)
def test_values_and_gradients_follow_the_equations(options):
    def sge(x, p):
        gamma, beta = p["weight"], p["bias"]
        size = x.shape[1] // len(gamma)
        y = torch.empty_like(x)
        for n in range(x.shape[0]):
            for g in range(len(gamma)):
                vectors = x[n, g * size : (g + 1) * size].flatten(1).T  # one per position
                c = torch.stack([vector @ vectors.mean(0) for vector in vectors])
                mu = c.mean()
                sigma = ((c - mu) ** 2).mean() ** 0.5
                enhanced = vectors * sigmoid(gamma[g] * (c - mu) / (sigma + 1e-5) + beta[g])[:, None]
                y[n, g * size : (g + 1) * size] = enhanced.T.unflatten(1, x.shape[2:])
        return y

    assert_follows(sge, gate("sge", dtype=torch.float64, **options))


@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_it_has_the_parameters_of_the_paper(channels):
    assert parameter_count("sge", channels) == 2 * 64


def test_it_starts_as_a_constant_factor():
    x = maps(2, C, 5, 4)
    torch.testing.assert_close(SGEBlock(C)(x), x * torch.tensor(1.0).sigmoid())


@pytest.mark.parametrize(("channels", "groups"), [(16, 3), (48, 64), (64, 0), (64, -1)])
def test_groups_that_do_not_divide_the_channels_are_refused(channels, groups):
    with pytest.raises(ValueError, match=f"groups={groups} .*channels={channels}"):
        SGEBlock(channels, groups=groups)


def test_it_has_64_groups_or_the_greatest_common_divisor():
    groups = {c: SGEBlock(c).groups for c in (8, 16, 40, 64, 96, 512, 2048)}
    assert groups == {8: 8, 16: 16, 40: 8, 64: 64, 96: 32, 512: 64, 2048: 64}
    assert SGEBlock(48, groups=6).groups == 6
