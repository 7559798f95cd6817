"""Sums of squares that no type overflows."""

from __future__ import annotations

import torch
from torch import Tensor


def energy(x: Tensor, *, keepdim: bool = False) -> Tensor:
    """The sum of squares over the positions of each channel, float32 at least: float16 ends at 65504.

    Half precision is squared inside of torch's norm, which reads the map once and writes no wider copy of
    it; plain squares are faster where they are exact enough, many times so on channels-last maps on a CPU.

    Shape: (N, C, H, W) -> (N, C), or (N, C, 1, 1) with `keepdim`.
    """
    if x.dtype in (torch.float16, torch.bfloat16):
        return torch.linalg.vector_norm(x, dim=(2, 3), keepdim=keepdim, dtype=torch.float32).square()
    return x.square().sum((2, 3), keepdim=keepdim)
