"""Batch norm inside gates, for maps that may hold a single value per channel."""

import pytest
import torch
from torch import nn

from fer_attention.attention.parts import GateBatchNorm
from tests.support.gates import maps


def awake_norm(kind):
    norm = kind(6)
    for tensor, seed in ((norm.running_mean, 1), (norm.weight.data, 2), (norm.bias.data, 3)):
        tensor.copy_(maps(6, seed=seed))
    norm.running_var.copy_(maps(6, seed=4).square() + 0.5)
    return norm.train()


@pytest.mark.parametrize("shape", [(1, 6, 2, 1), (3, 6, 1, 1)], ids=str)
def test_several_values_per_channel_are_normalised_as_by_torch(shape):
    ours, theirs = awake_norm(GateBatchNorm), awake_norm(nn.BatchNorm2d)
    x = maps(*shape)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_a_single_value_per_channel_is_normalised_as_in_evaluation():
    ours, theirs = awake_norm(GateBatchNorm), awake_norm(nn.BatchNorm2d)
    x = maps(1, 6, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value"):
        awake_norm(nn.BatchNorm2d)(x)
    torch.testing.assert_close(ours(x), theirs.eval()(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
