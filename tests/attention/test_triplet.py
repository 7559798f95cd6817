import pytest
import torch

from tests.support.equations import X, assert_follows, batch_norm, convolution, sigmoid
from tests.support.gates import gate, parameter_count


def triplet(x, p, training):
    """As in the paper: rotate the map so that the pooled dimension comes first, gate, rotate back."""
    total = 0
    for branch, there, back in (
        ("cw", "nchw->nhcw", "nhcw->nchw"),
        ("ch", "nchw->nwch", "nwch->nchw"),
        ("hw", "nchw->nchw", "nchw->nchw"),
    ):
        rotated = torch.einsum(there, x)
        pooled = torch.stack([rotated.max(1).values, rotated.sum(1) / rotated.shape[1]], 1)
        plane = batch_norm(convolution(pooled, p[f"{branch}.0.weight"]), p, f"{branch}.1", training)
        total = total + torch.einsum(back, rotated * sigmoid(plane))
    return total / 3


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("options", [{}, {"kernel_size": 3}], ids=str)
def test_values_and_gradients_follow_the_equations(options, training):
    block = gate("triplet", dtype=torch.float64, **options).train(training)
    assert_follows(lambda x, p: triplet(x, p, training), block)


def test_the_first_of_several_maxima_gets_the_gradient():
    block = gate("triplet", dtype=torch.float64)
    assert_follows(lambda x, p: triplet(x, p, training=True), block, x=X.sign())


@pytest.mark.parametrize("channels", [64, 512, 2048])
def test_it_has_the_parameters_of_the_paper(channels):
    assert parameter_count("triplet", channels) == 3 * (2 * 7 * 7 + 2)
