"""Each attention block's numbers against its equations, written a second way, and against timm's blocks.

Forward against NumPy loops, gradients against einsum formulas, both in float64.
"""

import numpy as np
import pytest
import timm
import torch
from timm.layers.cbam import ChannelAttn
from torch.nn import functional as F

from fer_attention.attention import (
    CBAM,
    CBAMChannelGate,
    CBAMSpatialGate,
    ECABlock,
    SEBlock,
)
from tests.support.gates import C, distinct, gate, maps


class TestParity:
    x = distinct(2, C, 5, 4, seed=3)

    def test_se_gives_the_numbers_of_its_equations(self):
        block = gate("se", dtype=torch.float64, reduction=4)
        w1, b1, w2, b2 = (
            p.detach().numpy().reshape(p.shape[:2] if p.ndim > 1 else -1) for p in block.parameters()
        )
        x = self.x.numpy()
        expected = np.empty_like(x)
        for n in range(len(x)):
            z = np.array([x[n, c].sum() / x[n, c].size for c in range(C)])
            s = sigmoid(w2 @ np.maximum(w1 @ z + b1, 0) + b2)
            for c in range(C):
                expected[n, c] = s[c] * x[n, c]
        np.testing.assert_allclose(block(self.x).detach().numpy(), expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("kernel_size", [None, 1, 5, 9])
    def test_eca_gives_the_numbers_of_its_equations(self, kernel_size):
        block = gate("eca", dtype=torch.float64, kernel_size=kernel_size)
        w = block.conv.weight.detach().numpy().ravel()
        x = self.x.numpy()
        expected = np.empty_like(x)
        for n in range(len(x)):
            z = x[n].mean((1, 2))
            for c in range(C):
                total = 0.0
                for j, weight in enumerate(w):
                    neighbour = c + j - len(w) // 2
                    total += weight * z[neighbour] if 0 <= neighbour < C else 0.0
                expected[n, c] = sigmoid(total) * x[n, c]
        np.testing.assert_allclose(block(self.x).detach().numpy(), expected, rtol=0, atol=1e-12)

    def test_cbam_s_channel_gate_gives_the_numbers_of_its_equation(self):
        torch.manual_seed(0)
        block = CBAMChannelGate(C, reduction=8, dtype=torch.float64)
        np.testing.assert_allclose(
            block(self.x).detach().numpy(), cbam_channel_by_numpy(block, self.x.numpy()), rtol=0, atol=1e-12
        )

    @pytest.mark.parametrize("kernel_size", [1, 3, 7])
    def test_cbam_s_spatial_gate_gives_the_numbers_of_its_equation(self, kernel_size):
        torch.manual_seed(0)
        block = CBAMSpatialGate(C, kernel_size=kernel_size, dtype=torch.float64)
        np.testing.assert_allclose(
            block(self.x).detach().numpy(), cbam_spatial_by_numpy(block, self.x.numpy()), rtol=0, atol=1e-12
        )

    def test_cbam_is_its_channel_gate_and_then_its_spatial_gate_of_the_refined_map(self):
        block = gate("cbam", dtype=torch.float64, reduction=8, kernel_size=3)
        refined = cbam_channel_by_numpy(block.channel, self.x.numpy())
        expected = cbam_spatial_by_numpy(block.spatial, refined)
        np.testing.assert_allclose(block(self.x).detach().numpy(), expected, rtol=0, atol=1e-12)
        # the paper's published code reads the spatial map off the block's input
        of_the_input = block.spatial.scale(self.x) * block.channel(self.x)
        assert not np.allclose(of_the_input.detach().numpy(), expected)

    @pytest.mark.parametrize(
        ("block", "formula"),
        [
            (lambda: SEBlock(C, reduction=4, dtype=torch.float64), lambda b, x, p: se_by_einsum(x, p)),
            (lambda: ECABlock(C, kernel_size=5, dtype=torch.float64), lambda b, x, p: eca_by_einsum(x, p)),
            (
                lambda: CBAMChannelGate(C, reduction=4, dtype=torch.float64),
                lambda b, x, p: cbam_channel_by_einsum(x, p),
            ),
            (lambda: CBAMSpatialGate(C, dtype=torch.float64), lambda b, x, p: cbam_spatial_by_einsum(x, p)),
            (
                lambda: CBAM(C, reduction=4, kernel_size=5, dtype=torch.float64),
                lambda b, x, p: cbam_spatial_by_einsum(cbam_channel_by_einsum(x, p[:2]), p[2:]),
            ),
        ],
        ids=["se", "eca", "cbam channel", "cbam spatial", "cbam"],
    )
    def test_gradients_are_those_of_the_einsum_formula(self, block, formula):
        torch.manual_seed(0)
        block = block()
        direction = maps(*self.x.shape, seed=7, dtype=torch.float64)
        inputs = [self.x.clone().requires_grad_(), *block.parameters()]
        copies = [t.detach().clone().requires_grad_() for t in inputs]
        y, expected = block(inputs[0]), formula(block, copies[0], copies[1:])
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        ours = torch.autograd.grad((y * direction).sum(), inputs)
        theirs = torch.autograd.grad((expected * direction).sum(), copies)
        for mine, other in zip(ours, theirs, strict=True):
            assert other.abs().max() > 0
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cbam_channel_by_numpy(block, x):
    w0, w1 = (p.detach().numpy()[:, :, 0, 0] for p in block.parameters())
    y = np.empty_like(x)
    for n in range(len(x)):
        mean, peak = x[n].reshape(C, -1).mean(1), x[n].reshape(C, -1).max(1)
        s = sigmoid(w1 @ np.maximum(w0 @ mean, 0) + w1 @ np.maximum(w0 @ peak, 0))
        y[n] = s[:, None, None] * x[n]
    return y


def cbam_spatial_by_numpy(block, x):
    (w,) = (p.detach().numpy()[0] for p in block.parameters())  # (2, k, k)
    half = w.shape[-1] // 2
    y = np.empty_like(x)
    for n, row, column in np.ndindex(len(x), *x.shape[2:]):
        total = 0.0
        for i, j in np.ndindex(w.shape[1:]):
            r, c = row + i - half, column + j - half
            if 0 <= r < x.shape[2] and 0 <= c < x.shape[3]:
                total += w[0, i, j] * x[n, :, r, c].mean() + w[1, i, j] * x[n, :, r, c].max()
        y[n, :, row, column] = sigmoid(total) * x[n, :, row, column]
    return y


def se_by_einsum(x, parameters):
    w1, b1, w2, b2 = parameters
    z = torch.einsum("nchw->nc", x) / x[0, 0].numel()
    hidden = (torch.einsum("nc,hcij->nh", z, w1) + b1).clamp(min=0)
    return torch.einsum("nc,nchw->nchw", 1 / (1 + (-torch.einsum("nh,chij->nc", hidden, w2) - b2).exp()), x)


def eca_by_einsum(x, parameters):
    kernel = parameters[0].flatten()
    z = torch.einsum("nchw->nc", x) / x[0, 0].numel()
    neighbours = F.pad(z, (len(kernel) // 2,) * 2).unfold(1, len(kernel), 1)  # (N, C, k)
    return torch.einsum("nc,nchw->nchw", 1 / (1 + (-torch.einsum("nck,k->nc", neighbours, kernel)).exp()), x)


def cbam_channel_by_einsum(x, parameters):
    w0, w1 = (p[:, :, 0, 0] for p in parameters)
    logits = sum(
        torch.einsum("ch,nh->nc", w1, torch.einsum("hc,nc->nh", w0, pooled).clamp(min=0))
        for pooled in (torch.einsum("nchw->nc", x) / x[0, 0].numel(), x.flatten(2).max(-1).values)
    )
    return torch.einsum("nc,nchw->nchw", 1 / (1 + (-logits).exp()), x)


def cbam_spatial_by_einsum(x, parameters):
    (w,) = parameters
    n, _, height, width = x.shape
    pooled = torch.stack([torch.einsum("nchw->nhw", x) / x.shape[1], x.max(1).values], 1)
    patches = F.unfold(pooled, w.shape[-1], padding=w.shape[-1] // 2)  # (N, 2·k·k, H·W)
    logits = torch.einsum("npl,p->nl", patches, w.flatten()).reshape(n, height, width)
    return torch.einsum("nhw,nchw->nchw", 1 / (1 + (-logits).exp()), x)


class TestTimmParity:
    x = maps(3, 64, 6, 5, seed=5)

    def copied(self, ours, theirs):
        theirs.load_state_dict(ours.state_dict())  # strict: the names are timm's
        torch.testing.assert_close(ours(self.x), theirs(self.x), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("reduction", [4, 16])
    def test_se_is_timm_s(self, reduction):
        self.copied(
            gate("se", 64, reduction=reduction),
            timm.layers.SEModule(64, rd_channels=64 // reduction, bias=True),
        )

    def test_eca_is_timm_s(self):
        self.copied(gate("eca", 64), timm.layers.EcaModule(64))
        self.copied(gate("eca", 64, kernel_size=7), timm.layers.EcaModule(kernel_size=7))

    def test_cbam_s_channel_gate_is_timm_s(self):
        torch.manual_seed(0)
        self.copied(CBAMChannelGate(64, reduction=8), ChannelAttn(64, rd_channels=8))
