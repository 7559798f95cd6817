"""Maps and blocks that the tests of attention share."""

import math

import torch

from fer_attention.attention import AttentionBlock, create_attention

C = 32


def maps(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def distinct(*shape, seed=0):
    """Distinct, evenly spaced values in float64: no maximum is a tie, so every gate is smooth there."""
    order = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(seed))
    return (order.double() / order.numel() * 4 - 2).reshape(shape)


def awake(module, *, seed=0):
    """Moves the numbers of all blocks in a module off their start, where some blocks change nothing yet."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [path for path, part in module.named_modules() if isinstance(part, AttentionBlock)]
    for name, tensor in module.state_dict().items():
        inside = any(name.startswith(f"{path}." if path else "") for path in blocks)
        if inside and tensor.is_floating_point() and not tensor.is_meta:
            noise = torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            tensor.mul_(1 + noise.abs()) if name.endswith("running_var") else tensor.add_(noise / 4)
    return module


def gate(name, channels=C, *, seed=0, **options):
    """A block that is awake, so that each of its numbers counts."""
    torch.manual_seed(seed)
    return awake(create_attention(name, channels, **options), seed=seed)
