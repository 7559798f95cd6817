"""The passes of fused attention in NumPy and float64, compared with the Triton kernels on any device."""

from dataclasses import dataclass

import numpy as np
import torch

from fer_attention.attention.fused import cuda
from fer_attention.attention.fused.gates import FusedActivation

TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
ALPHA = 0.7
ACTS = FusedActivation(), FusedActivation("relu"), FusedActivation("elu", ALPHA)


@dataclass(frozen=True)
class Case:
    """Shape, type, memory format and device of a map of random numbers."""

    shape: tuple[int, int, int, int]
    dtype: torch.dtype = torch.float32
    last: bool = False
    device: str = "cpu"

    def __str__(self):
        size = "x".join(map(str, self.shape))
        return f"{size}-{str(self.dtype).removeprefix('torch.')}-{'nhwc' if self.last else 'nchw'}"

    @property
    def wide(self):
        return torch.promote_types(self.dtype, torch.float32)

    def map(self, seed, *, steps=None):
        """Draw normal numbers; with `steps` rounded to a coarse grid, so that maxima are tied."""
        x = _normal(self.shape, seed)
        x = x if steps is None else (x * steps).round() / steps
        format_ = torch.channels_last if self.last else torch.contiguous_format
        return x.to(self.device, self.dtype).contiguous(memory_format=format_)

    def per_channel(self, seed):
        return _normal(self.shape[:2], seed).to(self.device, self.wide)

    def per_position(self, seed):
        n, _, h, w = self.shape
        return _normal((n, h, w), seed).to(self.device, self.wide)


def check_pool(case):
    for x in (case.map(0), case.map(0, steps=1)):
        mean, peak, where = pool(x)
        rows = exact(x).reshape(*x.shape[:2], -1)
        close(mean, rows.mean(2), case.wide, scale=abs(rows).mean(2))
        equal(peak, rows.max(2), case.wide)
        equal(where, rows.argmax(2), torch.int32)
    alone, no_maximum = cuda.pool(x, peak=False, mean_of=x)
    assert no_maximum is None
    close(alone, rows.mean(2), case.wide, scale=abs(rows).mean(2))


def check_pool_pixels(case):
    for x, gate in (
        (case.map(0), case.per_channel(1)),
        (case.map(0, steps=1), case.per_channel(1).sign()),
    ):
        mean, peak, where = cuda.pool_pixels(x, gate)
        # a single product in the kernel's type is rounded equally everywhere, so maxima compare exactly
        gated = exact(x.to(case.wide) * gate[:, :, None, None])
        close(mean, gated.mean(1), case.wide, scale=abs(gated).mean(1))
        equal(peak, gated.max(1), case.wide)
        equal(where, gated.argmax(1), torch.int32)


def check_combine(case, act, *, spatial, shortcut):
    x, gate = case.map(0), case.per_channel(1)
    positions = case.per_position(2) if spatial else None
    other = case.map(3) if shortcut else None
    y = cuda.combine(x, gate, positions, other, act)
    product = exact(x) * scale(gate, positions)
    total = product if other is None else product + exact(other)
    expected = {
        "identity": lambda: total,
        "relu": lambda: np.maximum(total, 0),
        "elu": lambda: np.where(total > 0, total, ALPHA * np.expm1(np.minimum(total, 0))),
    }[act.name]()
    close(y, expected, case.dtype, scale=abs(product) + abs(total) + ALPHA)
    assert laid_out(y, case)


def check_combine_backward(case, act, *, spatial):
    x, y, grad, gate = case.map(0), case.map(1), case.map(2), case.per_channel(3)
    y = y.relu() if act.name == "relu" else y.clamp(min=-ALPHA)
    positions = case.per_position(4) if spatial else None
    d, grad_gate, _, grad_spatial = cuda.apply_backward(grad, y, x, gate, positions, act, affine=None)
    below = {"identity": 1.0, "relu": 0.0, "elu": exact(y) + ALPHA}[act.name]
    expected, reach = exact(grad) * np.where(exact(y) > 0, 1.0, below), abs(exact(grad)) * abs(exact(x))
    close(d, expected, case.dtype, scale=abs(exact(grad)))
    assert laid_out(d, case)
    assert (d is grad) == (act.name == "identity")
    factor = np.ones(1) if positions is None else exact(positions)[:, None]
    terms = expected * exact(x) * factor
    close(grad_gate, terms.sum((2, 3)), case.wide, scale=(reach * abs(factor)).sum((2, 3)))
    if positions is None:
        assert grad_spatial is None
    else:
        factor = exact(gate)[:, :, None, None]
        terms = expected * exact(x) * factor
        close(grad_spatial, terms.sum(1), case.wide, scale=(reach * abs(factor)).sum(1))


def check_pool_pixels_backward(case):
    x, grad_mean, grad_max, where = pixel_gradients(case)
    grad_gate, _ = cuda.pool_pixels_backward(x, grad_mean, grad_max, where)
    terms = exact(x) * at_pixels(case, grad_mean, grad_max, where)
    close(grad_gate, terms.sum((2, 3)), case.wide, scale=abs(terms).sum((2, 3)))


def check_input_backward(case, *, spatial, peak):
    d, gate, positions = case.map(5), case.per_channel(6), case.per_position(7)
    _, *pixels = pixel_gradients(case)
    mean, grad_peak = case.per_channel(8), case.per_channel(9)
    _, _, position = pool(case.map(0))
    got = cuda.input_backward(
        d,
        gate,
        positions if spatial else None,
        tuple(pixels) if spatial else None,
        mean / (case.shape[2] * case.shape[3]),
        (grad_peak, position) if peak else None,
        None,
    )
    inner = exact(d)
    if spatial:
        inner = inner * exact(positions)[:, None] + at_pixels(case, *pixels)
    outer = np.broadcast_to(exact(mean)[:, :, None] / (case.shape[2] * case.shape[3]), (*mean.shape, 1))
    outer = np.repeat(outer, case.shape[2] * case.shape[3], 2)
    if peak:
        for n, c in np.ndindex(*mean.shape):
            outer[n, c, int(position[n, c])] += exact(grad_peak)[n, c]
    gated, outer = inner * exact(gate)[:, :, None, None], outer.reshape(case.shape)
    scale = (abs(exact(d)) + abs(inner) + 4) * (abs(exact(gate)[:, :, None, None]) + 1) + abs(outer)
    close(got, gated + outer, case.dtype, scale=scale)
    assert laid_out(got, case)


def check_nan(case):
    """A NaN is the maximum at any position, and affects no other channel or position."""
    x, gate = case.map(0), case.per_channel(1).abs() + 0.5
    n, c, h, w = (size - 1 for size in case.shape)
    x[n, c, h, w] = float("nan")
    rows = exact(x).reshape(*x.shape[:2], -1)
    _, peak, where = pool(x)
    equal(peak, rows.max(2), case.wide)
    equal(where, rows.argmax(2), torch.int32)
    _, peak, where = cuda.pool_pixels(x, gate)
    gated = exact(x.to(case.wide) * gate[:, :, None, None])
    equal(peak, gated.max(1), case.wide)
    equal(where, gated.argmax(1), torch.int32)
    for act in ACTS:
        y = cuda.combine(x, gate, None, None, act)
        assert torch.equal(y.isnan(), x.isnan())


def check_combinations(case):
    for act in ACTS:
        for spatial in (False, True):
            check_combine_backward(case, act, spatial=spatial)
            for shortcut in (False, True):
                check_combine(case, act, spatial=spatial, shortcut=shortcut)
    for peak in (False, True):
        for spatial in (False, True):
            check_input_backward(case, spatial=spatial, peak=peak)


def check_everything(case):
    check_pool(case)
    check_pool_pixels(case)
    check_pool_pixels_backward(case)
    check_nan(case)
    check_combinations(case)


def run_all(x, gate, positions, grad):
    """Run all six passes and return their results."""
    pooled = pool(x)
    pixels = cuda.pool_pixels(x, gate)
    identity, _, elu = ACTS
    y = cuda.combine(x, gate, positions, grad, elu)
    d, grad_gate, _, grad_positions = cuda.apply_backward(grad, y, x, gate, positions, elu, affine=None)
    back, _ = cuda.pool_pixels_backward(x, positions, positions, pixels[2])
    grad_x = cuda.input_backward(
        d, gate, positions, (positions, positions, pixels[2]), gate, (gate, pooled[2]), None
    )
    plain = cuda.apply_backward(grad, None, x, gate, None, identity, affine=None)[1]
    alone, _ = cuda.pool(x, peak=False, mean_of=x)
    return (*pooled, *pixels, y, d, grad_gate, grad_positions, back, grad_x, plain, alone)


def pool(x):
    """Return mean, maximum and its position of each channel."""
    mean, maximum = cuda.pool(x, peak=True, mean_of=x)
    return mean, *maximum


def pixel_gradients(case):
    x = case.map(0)
    where = cuda.pool_pixels(x, case.per_channel(1))[2]
    return x, case.per_position(2), case.per_position(3), where


def at_pixels(case, grad_mean, grad_max, where):
    """Return the gradient of each value of the map through mean and maximum over the channels."""
    spread = np.repeat(exact(grad_mean)[:, None] / case.shape[1], case.shape[1], 1)
    n, h, w = np.indices(where.shape)
    spread[n, where.cpu().numpy(), h, w] += exact(grad_max)
    return spread


def scale(gate, positions):
    product = exact(gate)[:, :, None, None]
    return product if positions is None else product * exact(positions)[:, None]


def laid_out(values, case):
    return values.is_contiguous(memory_format=torch.channels_last if case.last else torch.contiguous_format)


def exact(values):
    return values.double().cpu().numpy()


def equal(actual, expected, dtype):
    assert actual.dtype == dtype
    np.testing.assert_array_equal(exact(actual), expected)


def close(actual, expected, dtype, *, scale):
    """Compare within one rounding to dtype and a few of the wide type, which grow with the sum of terms."""
    # Triton's interpreter cuts float32 down to bfloat16, where a device rounds to the nearest
    ulps = 1.01 if dtype == torch.bfloat16 and actual.device.type == "cpu" else 0.51
    assert actual.dtype == dtype
    assert actual.shape == expected.shape
    info = torch.finfo(dtype)
    wide = torch.finfo(torch.promote_types(dtype, torch.float32))
    allowed = ulps * info.eps * abs(expected) + 16 * wide.eps * scale + info.smallest_normal * info.eps
    worst = (abs(exact(actual) - expected) / allowed).max()
    assert worst <= 1, f"off by {worst:.2f} times what rounding explains"


def _normal(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
