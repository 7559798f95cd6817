import pytest
import torch

from fer_attention.attention import GCTBlock
from tests.support.equations import assert_follows
from tests.support.gates import C, gate, maps, parameter_count


def test_values_and_gradients_follow_the_equations():
    def gct(x, p):
        y = torch.empty_like(x)
        for n in range(x.shape[0]):
            sums = [(x[n, c] ** 2).sum() for c in range(x.shape[1])]
            s = torch.stack(
                [alpha * (total + 1e-5) ** 0.5 for alpha, total in zip(p["alpha"], sums, strict=True)]
            )
            hat = x.shape[1] ** 0.5 * s / ((s**2).sum() + 1e-5) ** 0.5
            for c in range(x.shape[1]):
                y[n, c] = x[n, c] * (1 + torch.tanh(p["gamma"][c] * hat[c] + p["beta"][c]))
        return y

    assert_follows(gct, gate("gct", dtype=torch.float64))


@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_it_has_the_parameters_of_the_paper(channels):
    assert parameter_count("gct", channels) == 3 * channels


def test_it_starts_as_the_identity():
    x = maps(2, C, 5, 4)
    torch.testing.assert_close(GCTBlock(C)(x), x, rtol=0, atol=0)
