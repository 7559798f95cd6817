# ruff: noqa: N803 - compile-time constants are written in capitals, as is usual in Triton
"""The CUDA kernels of fused attention, in Triton; `triton_launch.py` runs them.

The map of a sample is a matrix of channels (C) by positions (P = H·W), read in tiles of BLOCK_C × BLOCK_P.
The same code serves both memory formats: only the strides differ, and Triton arranges the threads of a tile
along the axis of stride one. Offsets are 64 bits wide up to the start of a sample and 32 within it.

Arithmetic has the type of the small tensors, float32 or float64; maps are rounded once, when written. No
kernel uses atomics. Sums over several programs go through a buffer of parts, so that results are the same in
every run. A pointer that is None removes the code for it at compile time.
"""

from __future__ import annotations

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]


@triton.jit  # type: ignore[untyped-decorator]
def _offsets(
    row: tl.tensor, column: tl.tensor, rows: tl.tensor, columns: tl.tensor, ROWS_FAST: tl.constexpr
) -> tl.tensor:
    """Compute the offsets of a tile in a matrix whose rows or columns are contiguous in memory."""
    row, column = row[:, None], column[None, :]
    return row + column * rows if ROWS_FAST else row * columns + column


@triton.jit  # type: ignore[untyped-decorator]
def _tile(
    channels: tl.tensor, positions: tl.tensor, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Return the sample, channels and positions of a program that handles one tile."""
    c_blocks, p_blocks = tl.cdiv(channels, BLOCK_C), tl.cdiv(positions, BLOCK_P)
    tile = tl.program_id(0) % (c_blocks * p_blocks)
    n = (tl.program_id(0) // (c_blocks * p_blocks)).to(tl.int64)
    c = (tile // p_blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    p = (tile % p_blocks) * BLOCK_P + tl.arange(0, BLOCK_P)
    return n, c, p


@triton.jit  # type: ignore[untyped-decorator]
def _strip(
    rows: tl.tensor, columns: tl.tensor, chunk: tl.tensor, BLOCK: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Return sample, chunk (over all samples), rows and column bounds of a program that sweeps a strip."""
    blocks, chunks = tl.cdiv(rows, BLOCK), tl.cdiv(columns, chunk)
    part = (tl.program_id(0) // blocks).to(tl.int64)
    row = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    start = (tl.program_id(0) // blocks % chunks) * chunk
    return part // chunks, part, row, start, tl.minimum(start + chunk, columns)


@triton.jit  # type: ignore[untyped-decorator]
def _beats(value: tl.tensor, best: tl.tensor) -> tl.tensor:
    """Return whether a later value replaces the current maximum: it is larger, or the first NaN."""
    return (value > best) | ((value != value) & (best == best))


@triton.jit  # type: ignore[untyped-decorator]
def _first_maximum(best: tl.tensor, index: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Return the maximum of each row and the lowest index that has it; NaN counts as the largest value."""
    nan = best != best
    has_nan = tl.max(nan.to(tl.int32), 1) > 0
    peak = tl.max(tl.where(nan, float("-inf"), best), 1)
    hit = tl.where(has_nan[:, None], nan, best == peak[:, None])
    return tl.where(has_nan, float("nan"), peak), tl.min(tl.where(hit, index, 2147483647), 1)


@triton.jit  # type: ignore[untyped-decorator]
def _expm1(x: tl.tensor) -> tl.tensor:
    """Compute exp(x) - 1 for x <= 0, by a Taylor series near zero, where the subtraction would cancel."""
    near = tl.where(x > -0.5, x, 0.0)
    terms: tl.constexpr = 15 if x.dtype == tl.float64 else 9
    series = tl.full(x.shape, 1.0, x.dtype)
    for i in tl.static_range(terms, 1, -1):
        series = 1.0 + series * near / i
    return tl.where(x > -0.5, near * series, tl.exp(x) - 1.0)


@triton.jit  # type: ignore[untyped-decorator]
def pool_parts(
    x_ptr: tl.tensor,
    gate_ptr: tl.tensor,
    mean_ptr: tl.tensor,
    peak_ptr: tl.tensor,
    where_ptr: tl.tensor,
    kept: tl.tensor,
    swept: tl.tensor,
    chunk: tl.tensor,
    KEPT_FAST: tl.constexpr,
    BLOCK_KEPT: tl.constexpr,
    BLOCK_SWEPT: tl.constexpr,
) -> None:
    """Compute mean and first maximum of x · gate, (N, kept, swept), over `chunk` values of the swept axis.

    The swept axis is that of positions (and channels are kept) or that of channels (and positions are kept).
    The gate, (N, swept) or None, belongs to the swept axis. Results are (N, chunks, kept); the means of all
    chunks add up to the mean.
    """
    acc: tl.constexpr = mean_ptr.dtype.element_ty
    n, part, row, start, stop = _strip(kept, swept, chunk, BLOCK_KEPT)
    x_ptr += n * kept * swept

    total = tl.zeros((BLOCK_KEPT, BLOCK_SWEPT), acc)
    best = tl.full((BLOCK_KEPT, BLOCK_SWEPT), float("-inf"), acc)
    index = tl.zeros((BLOCK_KEPT, BLOCK_SWEPT), tl.int32) + (start + tl.arange(0, BLOCK_SWEPT))[None, :]
    for first in range(start, stop, BLOCK_SWEPT):
        column = first + tl.arange(0, BLOCK_SWEPT)
        inside = (row < kept)[:, None] & (column < stop)[None, :]
        value = tl.load(x_ptr + _offsets(row, column, kept, swept, KEPT_FAST), mask=inside, other=0.0).to(acc)
        if gate_ptr is not None:
            value *= tl.load(gate_ptr + n * swept + column, mask=column < stop, other=0.0)[None, :]
        total += value
        if peak_ptr is not None:
            value = tl.where(inside, value, float("-inf"))
            better = _beats(value, best)
            best = tl.where(better, value, best)
            index = tl.where(better, column[None, :], index)

    out = part * kept + row
    tl.store(mean_ptr + out, tl.sum(total, 1) / swept, mask=row < kept)
    if peak_ptr is not None:
        peak, where = _first_maximum(best, index)
        tl.store(peak_ptr + out, peak, mask=row < kept)
        tl.store(where_ptr + out, where, mask=row < kept)


@triton.jit  # type: ignore[untyped-decorator]
def combine(
    x_ptr: tl.tensor,
    gate_ptr: tl.tensor,
    spatial_ptr: tl.tensor,
    shortcut_ptr: tl.tensor,
    y_ptr: tl.tensor,
    channels: tl.tensor,
    positions: tl.tensor,
    ACT: tl.constexpr,
    ALPHA: tl.constexpr,
    CHANNELS_FAST: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
) -> None:
    """Compute one tile of y = act(x · gate · spatial + shortcut)."""
    acc: tl.constexpr = gate_ptr.dtype.element_ty
    n, c, p = _tile(channels, positions, BLOCK_C, BLOCK_P)
    inside = (c < channels)[:, None] & (p < positions)[None, :]
    at = n * channels * positions + _offsets(c, p, channels, positions, CHANNELS_FAST)

    y = tl.load(x_ptr + at, mask=inside).to(acc)
    y *= tl.load(gate_ptr + n * channels + c, mask=c < channels)[:, None]
    if spatial_ptr is not None:
        y *= tl.load(spatial_ptr + n * positions + p, mask=p < positions)[None, :]
    if shortcut_ptr is not None:
        y += tl.load(shortcut_ptr + at, mask=inside).to(acc)
    if ACT == "relu":
        y = tl.where(y <= 0, 0.0, y)  # unlike max(y, 0), this passes a NaN on
    elif ACT == "elu":
        y = tl.where(y > 0, y, ALPHA * _expm1(tl.where(y > 0, 0.0, y)))
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def combine_backward(
    grad_ptr: tl.tensor,
    y_ptr: tl.tensor,
    x_ptr: tl.tensor,
    gate_ptr: tl.tensor,
    spatial_ptr: tl.tensor,
    d_ptr: tl.tensor,
    gate_parts_ptr: tl.tensor,
    spatial_parts_ptr: tl.tensor,
    channels: tl.tensor,
    positions: tl.tensor,
    chunk: tl.tensor,
    ACT: tl.constexpr,
    ALPHA: tl.constexpr,
    CHANNELS_FAST: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
) -> None:
    """Write d = grad · act'(y) and parts of both gates' gradients, for `chunk` positions of some channels.

    The sum of d · x · spatial over the positions of the chunk goes to gate_parts (N, chunks, C), that of
    d · x · gate over the channels of the block to spatial_parts (N, blocks, P). With the identity, d is not
    written.
    """
    acc: tl.constexpr = gate_ptr.dtype.element_ty
    n, part, c, start, stop = _strip(channels, positions, chunk, BLOCK_C)
    base = n * channels * positions

    gate = tl.load(gate_ptr + n * channels + c, mask=c < channels, other=0.0)
    total = tl.zeros((BLOCK_C, BLOCK_P), acc)
    for first in range(start, stop, BLOCK_P):
        p = first + tl.arange(0, BLOCK_P)
        inside = (c < channels)[:, None] & (p < stop)[None, :]
        at = base + _offsets(c, p, channels, positions, CHANNELS_FAST)
        d = tl.load(grad_ptr + at, mask=inside, other=0.0).to(acc)
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(acc)
        if ACT != "identity":
            y = tl.load(y_ptr + at, mask=inside, other=0.0).to(acc)
            d = d * tl.where(y > 0, 1.0, y + ALPHA) if ACT == "elu" else tl.where(y > 0, d, 0.0)
            tl.store(d_ptr + at, d.to(d_ptr.dtype.element_ty), mask=inside)
        product = d * x
        if spatial_ptr is not None:
            total += product * tl.load(spatial_ptr + n * positions + p, mask=p < stop, other=0.0)[None, :]
            blocks = tl.cdiv(channels, BLOCK_C)
            out = (n * blocks + tl.program_id(0) % blocks) * positions + p
            tl.store(spatial_parts_ptr + out, tl.sum(product * gate[:, None], 0), mask=p < stop)
        else:
            total += product
    tl.store(gate_parts_ptr + part * channels + c, tl.sum(total, 1), mask=c < channels)


@triton.jit  # type: ignore[untyped-decorator]
def pool_pixels_backward(
    x_ptr: tl.tensor,
    grad_mean_ptr: tl.tensor,
    grad_peak_ptr: tl.tensor,
    where_ptr: tl.tensor,
    gate_parts_ptr: tl.tensor,
    channels: tl.tensor,
    positions: tl.tensor,
    chunk: tl.tensor,
    CHANNELS_FAST: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
) -> None:
    """Sum x · (grad_mean / C + [c is where] · grad_peak) over `chunk` positions: parts (N, chunks, C)."""
    acc: tl.constexpr = gate_parts_ptr.dtype.element_ty
    n, part, c, start, stop = _strip(channels, positions, chunk, BLOCK_C)
    x_ptr += n * channels * positions

    total = tl.zeros((BLOCK_C, BLOCK_P), acc)
    for first in range(start, stop, BLOCK_P):
        p = first + tl.arange(0, BLOCK_P)
        inside = (c < channels)[:, None] & (p < stop)[None, :]
        at = _offsets(c, p, channels, positions, CHANNELS_FAST)
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(acc)
        weight = tl.load(grad_mean_ptr + n * positions + p, mask=p < stop, other=0.0) / channels
        peak = tl.load(grad_peak_ptr + n * positions + p, mask=p < stop, other=0.0)
        where = tl.load(where_ptr + n * positions + p, mask=p < stop, other=-1)
        hit = c[:, None] == where[None, :]
        total += x * (weight[None, :] + tl.where(hit, peak[None, :], 0.0))
    tl.store(gate_parts_ptr + part * channels + c, tl.sum(total, 1), mask=c < channels)


@triton.jit  # type: ignore[untyped-decorator]
def input_backward(
    d_ptr: tl.tensor,
    gate_ptr: tl.tensor,
    spatial_ptr: tl.tensor,
    px_mean_ptr: tl.tensor,
    px_peak_ptr: tl.tensor,
    px_where_ptr: tl.tensor,
    mean_ptr: tl.tensor,
    peak_ptr: tl.tensor,
    where_ptr: tl.tensor,
    out_ptr: tl.tensor,
    channels: tl.tensor,
    positions: tl.tensor,
    CHANNELS_FAST: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
) -> None:
    """Compute one tile of gate · (d · spatial + gradient from pixels) + gradient from channels."""
    acc: tl.constexpr = gate_ptr.dtype.element_ty
    n, c, p = _tile(channels, positions, BLOCK_C, BLOCK_P)
    inside = (c < channels)[:, None] & (p < positions)[None, :]
    at = n * channels * positions + _offsets(c, p, channels, positions, CHANNELS_FAST)
    of_c, of_p = n * channels + c, n * positions + p

    out = tl.load(d_ptr + at, mask=inside).to(acc)
    if spatial_ptr is not None:
        out *= tl.load(spatial_ptr + of_p, mask=p < positions)[None, :]
    if px_mean_ptr is not None:
        out += (tl.load(px_mean_ptr + of_p, mask=p < positions) / channels)[None, :]
        hit = c[:, None] == tl.load(px_where_ptr + of_p, mask=p < positions)[None, :]
        out += tl.where(hit, tl.load(px_peak_ptr + of_p, mask=p < positions)[None, :], 0.0)
    out *= tl.load(gate_ptr + of_c, mask=c < channels)[:, None]
    out += (tl.load(mean_ptr + of_c, mask=c < channels) / positions)[:, None]
    if peak_ptr is not None:
        hit = p[None, :] == tl.load(where_ptr + of_c, mask=c < channels)[:, None]
        out += tl.where(hit, tl.load(peak_ptr + of_c, mask=c < channels)[:, None], 0.0)
    tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), mask=inside)
