"""Run the Triton kernels of fused attention: tile sizes, memory formats, buffers of parts.

Tile sizes depend only on the shape, not on timings or the device, so that the first call is as fast as the
next and results are the same on every GPU of a model. Triton is imported on first use.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

TILE = 2048  # values per tile: 16 in each of 128 threads, two 16-byte loads of half-precision numbers
WIDE = 128  # values along the contiguous axis, if it is that long: whole 128-byte lines in any type
PROGRAMS = 1024  # enough to keep every multiprocessor of a large GPU busy
SWEEP = 4  # least number of tiles per program before a strip is split into chunks


class KernelLaunch(NamedTuple):
    """Launch parameters of a kernel that sweeps one axis of a map."""

    block_kept: int  # tile size along the axis that is kept
    block_swept: int  # tile size along the axis that is summed
    num_warps: int  # warps of 32 threads per program
    chunk: int  # values that one program sums along the swept axis
    chunks: int  # number of partial sums


def launch_config(
    samples: int, kept: int, swept: int, *, kept_is_fast: bool, least_kept: int = SWEEP
) -> KernelLaunch:
    """Choose tile sizes and chunks to sum a map of `samples` matrices kept × swept over the swept axis.

    `kept_is_fast` is true if the kept axis is contiguous in memory; otherwise `least_kept` is the smallest
    tile size along it.
    """
    if kept_is_fast:
        block_kept, block_swept = tile_shape(kept, swept)
    else:
        block_swept, block_kept = tile_shape(swept, kept, wide=TILE // least_kept)
    strips = samples * _cdiv(kept, block_kept)
    tiles = _cdiv(swept, block_swept)
    chunks = max(1, min(_cdiv(PROGRAMS, strips), tiles // SWEEP))
    chunk = _cdiv(tiles, chunks) * block_swept
    warps = num_warps(block_kept * block_swept)
    return KernelLaunch(block_kept, block_swept, warps, chunk, _cdiv(swept, chunk))


def tile_shape(fast: int, slow: int, *, wide: int = WIDE) -> tuple[int, int]:
    """Choose a tile's sizes along the contiguous and the other axis: powers of two, at most TILE values.

    The contiguous axis gets `wide` values, or more if the other one is short.
    """
    room_fast, room_slow = _power_of_two(fast), _power_of_two(slow)
    block_slow = min(room_slow, TILE // min(room_fast, wide))
    return min(room_fast, TILE // block_slow), block_slow


def num_warps(tile: int) -> int:
    """Return the number of warps for a tile: 16 values per thread, one to four warps."""
    return max(1, min(4, tile // 512))


def pool(x: Tensor, *, peak: bool) -> tuple[Tensor, ...]:
    """Compute mean and, if `peak`, maximum and its first position, (N, C); without it these are empty."""
    x, channels, positions, last = _matrix(x)
    return _pool(x, None, (channels, positions), kept_is_fast=last, peak=peak)


def pool_pixels(x: Tensor, gate: Tensor) -> tuple[Tensor, ...]:
    """Compute mean and maximum of x · gate over the channels, and the maximum's channel: (N, H, W)."""
    n, _, h, w = x.shape
    x, channels, positions, last = _matrix(x)
    pooled = _pool(x, _small(gate, x), (positions, channels), kept_is_fast=not last, peak=True)
    return tuple(values.view(n, h, w) for values in pooled)


def combine(
    x: Tensor, gate: Tensor, spatial: Tensor | None, shortcut: Tensor | None, act: str, alpha: float
) -> Tensor:
    """Compute act(x · gate · spatial + shortcut)."""
    x, channels, positions, last = _matrix(x)
    y = torch.empty_like(x)
    blocks, grid, warps = _tiles(x, channels, positions, last)
    maps = x, _small(gate, x), _small(spatial, x), dense_like(shortcut, x), y
    _run("combine", grid, (*maps, channels, positions, act, alpha, last, *blocks), warps)
    return y


def combine_backward(
    grad: Tensor, y: Tensor | None, x: Tensor, gate: Tensor, spatial: Tensor | None, act: str, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of sum (empty for the identity), gate and spatial scale (empty without one)."""
    n, _, h, w = x.shape
    x, channels, positions, last = _matrix(x)
    gate, spatial = _small(gate, x), _small(spatial, x)
    d = None if act == "identity" else torch.empty_like(x)
    # with a spatial scale each block of channels writes a part per position, so it should not be thin
    launch = launch_config(
        n, channels, positions, kept_is_fast=last, least_kept=SWEEP if spatial is None else 32
    )
    blocks = _cdiv(channels, launch.block_kept)
    gate_parts = gate.new_empty(n, launch.chunks, channels)
    spatial_parts = None if spatial is None else gate.new_empty(n, blocks, positions)
    maps = dense_like(grad, x), None if d is None else dense_like(y, x), x, gate, spatial, d
    _run(
        "combine_backward",
        n * launch.chunks * blocks,
        (*maps, gate_parts, spatial_parts, channels, positions, launch.chunk, act, alpha, last, *launch[:2]),
        launch.num_warps,
    )
    grad_spatial = gate.new_empty(0) if spatial_parts is None else _join(spatial_parts).view(n, h, w)
    return x.new_empty(0) if d is None else d, _join(gate_parts), grad_spatial


def pool_pixels_backward(x: Tensor, grad_mean: Tensor, grad_max: Tensor, where: Tensor) -> Tensor:
    """Compute the gate's gradient (N, C) through the pixels' statistics."""
    x, channels, positions, last = _matrix(x)
    launch = launch_config(len(x), channels, positions, kept_is_fast=last)
    grad_mean = _small(grad_mean, x)
    parts = grad_mean.new_empty(len(x), launch.chunks, channels)
    maps = x, grad_mean, _small(grad_max, x), _small(where, x), parts
    grid = len(x) * launch.chunks * _cdiv(channels, launch.block_kept)
    _run(
        "pool_pixels_backward",
        grid,
        (*maps, channels, positions, launch.chunk, last, *launch[:2]),
        launch.num_warps,
    )
    return _join(parts)


def input_backward(d: Tensor, gate: Tensor, spatial: Tensor | None, *statistics: Tensor | None) -> Tensor:
    """Compute the map's gradient; `statistics` are mean, maximum and index of pixels, then of channels."""
    d, count, positions, last = _matrix(d)
    out = torch.empty_like(d)
    blocks, grid, warps = _tiles(d, count, positions, last)
    small = [_small(values, d) for values in (gate, spatial, *statistics)]
    _run("input_backward", grid, (d, *small, out, count, positions, last, *blocks), warps)
    return out


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the format in which a map is read and results are written: its own, or the nearer of both."""
    channels_last = not x.is_contiguous() and x.stride(1) == 1
    return torch.channels_last if channels_last else torch.contiguous_format


def dense_like(values: Any, x: Tensor) -> Any:
    """Return a map in the layout of the map x; None remains None."""
    return None if values is None else values.contiguous(memory_format=memory_format(x))


def wide_type(x: Tensor) -> torch.dtype:
    """Return the type of sums over a map, and of small tensors."""
    return torch.promote_types(x.dtype, torch.float32)


def _pool(
    x: Tensor, gate: Tensor | None, size: tuple[int, int], *, kept_is_fast: bool, peak: bool
) -> tuple[Tensor, ...]:
    kept, swept = size
    launch = launch_config(len(x), kept, swept, kept_is_fast=kept_is_fast)
    shape = (len(x), launch.chunks, kept)
    mean = x.new_empty(shape, dtype=wide_type(x))
    best = torch.empty_like(mean) if peak else None
    where = torch.empty_like(mean, dtype=torch.int32) if peak else None
    grid = len(x) * launch.chunks * _cdiv(kept, launch.block_kept)
    arguments = (x, gate, mean, best, where, kept, swept, launch.chunk, kept_is_fast, *launch[:2])
    _run("pool_parts", grid, arguments, launch.num_warps)
    if best is None or where is None:
        return _join(mean), mean.new_empty(0), mean.new_empty(0, dtype=torch.int32)
    if launch.chunks == 1:
        return mean[:, 0], best[:, 0], where[:, 0]
    values, chunk = best.max(1)  # the first of equal chunks, and NaN if there is one, as in the kernel
    return _join(mean), values, where.gather(1, chunk[:, None])[:, 0]


def _join(parts: Tensor) -> Tensor:
    """Sum (N, parts, K) -> (N, K), in a fixed order."""
    return parts[:, 0] if parts.shape[1] == 1 else parts.sum(1)


def _matrix(x: Tensor) -> tuple[Tensor, int, int, bool]:
    """Return a dense map, its numbers of channels and positions, and whether channels are contiguous."""
    x = dense_like(x, x)
    _, c, h, w = x.shape
    if c * h * w >= 2**31:
        raise ValueError(
            f"A sample has {c}×{h}×{w} values, the fused kernels support 2**31 - 1. Use the plain blocks."
        )
    return x, c, h * w, not x.is_contiguous()


def _small(values: Any, x: Tensor) -> Any:
    """Convert a small tensor to the kernels' type for values or indices; None remains None."""
    if values is None:
        return None
    return values.to(wide_type(x) if values.is_floating_point() else torch.int32).contiguous()


def _tiles(x: Tensor, channels: int, positions: int, last: bool) -> tuple[tuple[int, int], int, int]:
    """Return block sizes over channels and positions, number of programs, and warps of a pass by tiles."""
    block_c, block_p = tile_shape(channels, positions) if last else tile_shape(positions, channels)[::-1]
    grid = len(x) * _cdiv(channels, block_c) * _cdiv(positions, block_p)
    return (block_c, block_p), grid, num_warps(block_c * block_p)


def _run(name: str, programs: int, arguments: tuple[Any, ...], warps: int) -> None:
    """Start a kernel on the device of its first argument."""
    device = arguments[0].device
    kernel = getattr(_kernels(device), name)
    with torch.cuda.device(device if device.type == "cuda" else -1):
        kernel[(programs,)](*arguments, num_warps=warps, enable_fp_fusion=True)


def _kernels(device: torch.device) -> ModuleType:
    try:
        import triton  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "Fused attention on GPUs requires Triton, which comes with PyTorch's CUDA builds for Linux. "
            "Elsewhere use the plain blocks."
        ) from error
    from fer_attention.attention.fused import triton_kernels

    if device.type != "cuda" and isinstance(triton_kernels.combine, triton.JITFunction):
        raise RuntimeError(
            f"Got maps on {device}, but Triton's kernels run on CUDA devices. Move the maps there or use the "
            "plain blocks. To try a kernel on the CPU, start Python with TRITON_INTERPRET=1."
        )
    return triton_kernels


def _cdiv(a: int, b: int) -> int:
    return -(-a // b)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
