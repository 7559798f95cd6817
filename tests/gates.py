"""Maps and blocks that the tests of attention share."""

import math

import torch

from fer_attention.attention import create_attention

C = 32


def maps(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def distinct(*shape, seed=0):
    """Distinct, evenly spaced values in float64: no maximum is a tie, so every gate is smooth there."""
    order = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(seed))
    return (order.double() / order.numel() * 4 - 2).reshape(shape)


def gate(name, channels=C, *, seed=0, **options):
    torch.manual_seed(seed)
    return create_attention(name, channels, **options)
