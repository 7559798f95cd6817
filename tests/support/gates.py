"""Input maps, attention blocks and a small net with a gate for tests."""

import math

import torch
from torch import nn

from fer_attention.attention import ATTENTIONS, AttentionBlock, attention_options, create_attention

C = 32

OPEN = [f"{name}-open" for name in ATTENTIONS if "start" in attention_options(name)]
"""Blocks with `start="open"`, as `gate` takes them."""


def maps(*shape, seed=0, dtype=torch.float32):
    """Draw normal random maps."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def distinct(*shape, seed=0):
    """Draw distinct, evenly spaced values in float64: without tied maxima every gate is differentiable."""
    order = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(seed))
    return (order.double() / order.numel() * 4 - 2).reshape(shape)


def awake(module, *, seed=0):
    """Perturb the parameters and statistics of all blocks in a module, since some start as the identity."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [path for path, part in module.named_modules() if isinstance(part, AttentionBlock)]
    for name, tensor in module.state_dict().items():
        inside = any(name.startswith(f"{path}." if path else "") for path in blocks)
        if inside and tensor.is_floating_point() and not tensor.is_meta:
            noise = torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            tensor.mul_(1 + noise.abs()) if name.endswith("running_var") else tensor.add_(noise / 4)
    return module


def gate(name, channels=C, *, seed=0, **options):
    """Create an awake block, so that each of its parameters matters; `se-open` is SE with `start="open"`."""
    torch.manual_seed(seed)
    return awake(fresh(name, channels, **options), seed=seed)


def fresh(name, channels=C, **options):
    """Create a new block; `se-open` is SE with `start="open"`."""
    block, start = named(name)
    return create_attention(block, channels, **options, **start)


def named(name):
    """Split `se-open` into the name of the block and its options."""
    block, _, start = name.partition("-")
    return block, {"start": start} if start else {}


def parameter_count(name, channels):
    """Count the parameters of a block."""
    return sum(p.numel() for p in create_attention(name, channels, device="meta").parameters())


class Gate(nn.Module):
    """A gate that is known as one by its attribute alone."""

    is_attention_gate = True

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return x * torch.sigmoid(self.act(x))


class GatedNet(nn.Module):
    """A convolution, a ReLU and a gate that contains another ReLU."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.act = nn.ReLU()
        self.gate = Gate()

    def forward(self, x):
        return self.gate(self.act(self.conv(x)))
