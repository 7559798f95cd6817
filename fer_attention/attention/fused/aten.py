"""The passes of a fused attention block over whole maps on CPUs, in PyTorch's own operators.

`cuda.py` has the same functions for GPUs. Each is one step of the forward or backward pass in
`computation.py` and records no gradients. Maps are (N, C, H, W), dense in either memory format, which is
preserved. Small tensors have one value per sample and channel, (N, C), or per sample and position, (N, H, W).
`scratch` is a map that may be overwritten.

All code below is restricted to operators whose CPU kernels are vectorised. Weighted sums over channels or
positions are matrix products from the left, and positions of maxima come from max pooling or from comparisons
that write numbers. `max(dim)`, boolean comparisons, products from the right and `addcmul` onto a vector take
five to ten times as long.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from fer_attention.attention.fused.gates import BlockOutput, FusedActivation, spatial_scale
from fer_attention.elu import elu_

Maximum = tuple[Tensor, Tensor]
"""The largest values, and the first position of each."""

Affine = tuple[Tensor, Tensor]
"""Scale and offset of each channel, (C,), of a norm that has not been applied to the map."""

PART = 2**19
"""Values that a loop over samples processes at a time: 2 MiB in float32, about the size of a core's cache."""


def pool(x: Tensor, *, peak: bool, mean_of: Tensor) -> tuple[Tensor, Maximum | None]:
    """Compute mean and, if `peak`, maximum of each channel and its position, (N, C).

    Positions count row by row. The mean is that of `mean_of`: x, or the map before its norm.
    """
    rows, last = rows_of(mean_of)
    mean = rows.mean(1 if last else 2)
    if not peak:
        return mean, None
    rows, last = rows_of(x)
    return mean, _max_over_outer(rows) if last else _max_over_inner(rows)


def apply(
    x: Tensor,
    gate: Tensor,
    shortcut: Tensor | None,
    activation: FusedActivation,
    *,
    kernel: Tensor | None,
    ceiling: float,
    scratch: Tensor | None,
) -> BlockOutput:
    """Compute act(x · gate · spatial + shortcut); a kernel over the gated map's pixels gives `spatial`.

    `ceiling` is the upper bound of `spatial`. `scratch` is overwritten with the result; it may be x
    itself if x is not used elsewhere.
    """
    pixels = spatial = channel = None
    scale = per_channel(gate, x)
    if kernel is not None:
        x = scratch = torch.mul(x, scale, out=scratch)
        pooled, channel = _pool_pixels(x)
        pixels = pooled.to(gate.dtype)
        spatial = spatial_scale(pixels, kernel, ceiling)
        scale = spatial.to(x.dtype).unsqueeze(1)
    y = combine(x, scale, shortcut, activation, out=scratch)
    return BlockOutput(y, pixels, spatial, channel)


def apply_backward(
    grad: Tensor,
    y: Tensor | None,
    x: Tensor,
    gate: Tensor,
    spatial: Tensor | None,
    activation: FusedActivation,
    *,
    affine: Affine | None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Compute the gradient d before the activation, and sums of it.

    Returns:
        d itself; sums over each map, (N, C), of d · spatial · x and, where there is an `affine`, of
        d · spatial; the sum over the channels of d · gate · affine(x), (N, H, W), if there is `spatial`.
    """
    n, c, h, w = x.shape
    d = grad if y is None else torch.empty_like(grad)
    product, total = x.new_empty(n, c), x.new_empty(n, c)
    of_spatial = None if spatial is None else x.new_empty(n, 1, h * w)
    for part in _parts(x):
        if y is not None and activation.name == "relu":
            torch.ops.aten.threshold_backward(grad[part], y[part], 0, grad_input=d[part])
        elif y is not None:
            torch.ops.aten.elu_backward(grad[part], activation.alpha, 1, 1, True, y[part], grad_input=d[part])
        rows, last = rows_of(d[part])
        products, _ = rows_of(d[part] * x[part])
        if spatial is None or of_spatial is None:
            product[part] = products.sum(1 if last else 2)
            if affine is not None:
                total[part] = rows.sum(1 if last else 2)
            continue
        positions = spatial[part].to(x.dtype).view(-1, 1, h * w)
        product[part] = _over_positions(products, last, positions)
        if affine is None:
            of_spatial[part] = _over_channels(products, last, gate[part])
        else:
            total[part] = _over_positions(rows, last, positions)
            of_spatial[part] = _over_channels(products, last, gate[part] * affine[0])
            of_spatial[part] += _over_channels(rows, last, gate[part] * affine[1])
    by_position = None if of_spatial is None else of_spatial.view(n, h, w)
    return d, product, None if affine is None else total, by_position


def pool_pixels_backward(
    x: Tensor, grad_mean: Tensor, grad_max: Tensor, where: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum over each map, (N, C), the pixels' gradients times x, and these gradients alone."""
    n, c, h, w = x.shape
    rows, last = rows_of(x)
    spread = (grad_mean / c).view(n, 1, h * w)
    where, grad_max = where.view(n, h * w), grad_max.view(n, h * w)
    dim = 2 if last else 1
    at_peak = rows.gather(dim, where.unsqueeze(dim)).squeeze(dim)
    first = _over_positions(rows, last, spread.to(x.dtype)).to(grad_max.dtype)
    second = spread.sum(2).expand(n, c).clone()
    return first.scatter_add_(1, where, at_peak * grad_max), second.scatter_add_(1, where, grad_max)


def input_backward(
    grad: Tensor,
    gate: Tensor,
    spatial: Tensor | None,
    pixels: tuple[Tensor, Tensor, Tensor] | None,
    spread: Tensor,
    peak: tuple[Tensor, Tensor] | None,
    slope: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Compute (grad · spatial + pixels) · gate + spread + peak + slope · x, the gradient of the map.

    Args:
        grad: Gradient before the activation, (N, C, H, W).
        gate: Scale of each channel, (N, C).
        spatial: Scale of each position, (N, H, W).
        pixels: Gradients of mean and maximum over the channels, and the channel of the maximum, (N, H, W).
        spread: Added to every value of a channel, (N, C).
        peak: Added to the first maximum of each channel, and its position, (N, C).
        slope: A map x and its factor by channel, (C,).
    """
    n, c, h, w = grad.shape
    scale, everywhere = per_channel(gate, grad), per_channel(spread, grad)
    out = torch.empty_like(grad)
    for part in _parts(grad):
        inner = grad[part]
        if spatial is not None and pixels is not None:
            inner = torch.mul(inner, spatial[part].to(grad.dtype).unsqueeze(1), out=out[part])
            inner.add_((pixels[0][part] / c).to(grad.dtype).unsqueeze(1))
        torch.addcmul(everywhere[part], inner, scale[part], out=out[part])
        if slope is not None:
            out[part].addcmul_(slope[0][part], slope[1][:, None, None])
    rows, last = rows_of(out)
    channel = 2 if last else 1
    if pixels is not None:
        where = pixels[2].view(n, h * w)
        at_peak = (gate.gather(1, where) * pixels[1].view(n, h * w)).to(grad.dtype)
        rows.scatter_add_(channel, where.unsqueeze(channel), at_peak.unsqueeze(channel))
    if peak is not None:
        position = 3 - channel
        rows.scatter_add_(position, peak[1].unsqueeze(position), peak[0].to(grad.dtype).unsqueeze(position))
    return out


def values_at(x: Tensor, positions: Tensor) -> Tensor:
    """Return the value of each channel at one position of its map, (N, C)."""
    rows, last = rows_of(x)
    dim = 1 if last else 2
    return rows.gather(dim, positions.unsqueeze(dim)).squeeze(dim)


def combine(
    x: Tensor, scale: Tensor, shortcut: Tensor | None, activation: FusedActivation, *, out: Tensor | None
) -> Tensor:
    """Compute act(x · scale + shortcut), into `out` if given; the scale broadcasts to x."""
    y = torch.mul(x, scale, out=out) if shortcut is None else torch.addcmul(shortcut, x, scale, out=out)
    if activation.name == "relu":
        y.relu_()
    elif activation.name == "elu":
        elu_(y, activation.alpha)
    return y


def rows_of(x: Tensor) -> tuple[Tensor, bool]:
    """View a map as (N, C, H·W) or, with channels last, as (N, H·W, C); return whether they are."""
    n, c, h, w = x.shape
    if x.is_contiguous():
        return x.view(n, c, h * w), False
    return x.permute(0, 2, 3, 1).view(n, h * w, c), True


def _over_channels(rows: Tensor, last: bool, weights: Tensor) -> Tensor:
    """Sum over the channels with weights (N, C): (N, 1, H·W)."""
    return weights.to(rows.dtype).unsqueeze(1) @ (rows.mT if last else rows)


def _over_positions(rows: Tensor, last: bool, weights: Tensor) -> Tensor:
    """Sum over the positions with weights (N, 1, H·W): (N, C)."""
    return (weights @ (rows if last else rows.mT)).squeeze(1)


def _pool_pixels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and maximum over the channels, (N, 2, H, W), and the maximum's channel, (N, H, W)."""
    n, _, h, w = x.shape
    rows, last = rows_of(x)
    values, where = _max_over_inner(rows) if last else _max_over_outer(rows)
    return torch.stack([rows.mean(2 if last else 1), values], 1).view(n, 2, h, w), where.view(n, h, w)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """View values of each channel, (N, C), so that they broadcast to a map of the type of `like`."""
    return values.to(like.dtype)[:, :, None, None]


def _max_over_outer(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maxima of (N, K, M) over K and their first indices, each (N, M)."""
    n, k, m = rows.shape
    images = rows.view(n, k, 1, m).permute(0, 3, 1, 2)  # M as the channels of a channels-last map K×1
    values, where = F.max_pool2d(images, (k, 1), return_indices=True)
    return values.view(n, m), where.view(n, m)


def _max_over_inner(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maxima of (N, M, K) over K and their first indices, each (N, M).

    A row is compared with its maximum. The product of the result with the numbers 0 … K - 1 is the index, and
    its product with ones the number of maxima. The numbers are split in two, to be exact in half precision.
    """
    n, m, k = rows.shape
    flat = rows.reshape(n * m, k)
    counters = _counters(k, rows.dtype)
    values, where = flat.amax(1), torch.empty(n * m, dtype=torch.long, device=rows.device)
    parts = _parts(flat)
    buffer = torch.empty_like(flat[parts[0]])
    for part in parts:
        reached = torch.eq(flat[part], values[part].unsqueeze(1), out=buffer[: len(flat[part])])
        count, low, high = counters @ reached.mT
        where[part] = high.long() * 256 + low.long()
        if (several := count != 1).any():
            where[part][several] = reached[several].argmax(1)
    return values.view(n, m), where.view(n, m)


@lru_cache(maxsize=64)
def _counters(k: int, dtype: torch.dtype) -> Tensor:
    """Return rows of ones, of the numbers 0 … k - 1 modulo 256 and divided by 256: (3, k)."""
    with torch.inference_mode(False):
        numbers = torch.arange(k)
        return torch.stack([torch.ones_like(numbers), numbers % 256, numbers // 256]).to(dtype)


def _parts(x: Tensor) -> list[slice]:
    """Split the first dimension into slices whose temporary tensors fit into a core's cache."""
    step = max(1, PART * len(x) // max(1, x.numel()))
    return [slice(start, start + step) for start in range(0, len(x), step)]
