"""Terms of the attention papers' equations, written a second way, and comparisons of blocks with them."""

import torch
from torch.nn import functional as F

from tests.support.gates import C, distinct, maps

X = distinct(3, C, 5, 4, seed=3)


def sigmoid(z):
    return 1 / (1 + (-z).exp())


def channel_means(x):
    """The mean of each channel, (N, C)."""
    return torch.einsum("nchw->nc", x) / (x.shape[2] * x.shape[3])


def two_layers(z, w1, w2, b1=0, b2=0):
    """A perceptron of two 1×1 convolutions with a ReLU between them, (N, C) -> (N, C)."""
    hidden = (torch.einsum("hc,nc->nh", w1[:, :, 0, 0], z) + b1).clamp(min=0)
    return torch.einsum("ch,nh->nc", w2[:, :, 0, 0], hidden) + b2


def over_neighbours(z, kernel):
    """A kernel (1, 1, k) over neighbouring channels, zero beyond the ends, (N, C) -> (N, C)."""
    kernel = kernel.flatten()
    half, sums = len(kernel) // 2, []
    for c in range(z.shape[1]):
        near = range(max(0, c - half), min(z.shape[1], c + half + 1))
        sums.append(sum(kernel[other - c + half] * z[:, other] for other in near))
    return torch.stack(sums, 1)


def batch_norm(z, state, prefix, training):
    """Batch norm of (N, C, ...) by its definition, with the batch's or the running statistics."""
    flat = z.transpose(0, 1).flatten(1)
    mean = flat.sum(1) / flat.shape[1]
    variance = ((flat - mean[:, None]) ** 2).sum(1) / flat.shape[1]
    if not training:
        mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    shape = (-1,) + (1,) * (z.ndim - 2)
    z = (z - mean.view(shape)) / (variance.view(shape) + 1e-5) ** 0.5
    return z * state[f"{prefix}.weight"].view(shape) + state[f"{prefix}.bias"].view(shape)


def convolution(x, kernel, bias=None, dilation=1):
    """A convolution that preserves the size, as a sum over the kernel's positions."""
    k, (height, width) = kernel.shape[-1], x.shape[2:]
    reach = dilation * (k // 2)
    padded = F.pad(x, (reach,) * 4)
    total = 0
    for i in range(k):
        for j in range(k):
            part = padded[:, :, i * dilation :, j * dilation :][:, :, :height, :width]
            total = total + torch.einsum("oc,nchw->nohw", kernel[:, :, i, j], part)
    return total if bias is None else total + bias.view(-1, 1, 1)


def spatially_gated(x, kernel):
    """CBAM's spatial gate (eq. 3) applied to a map."""
    pooled = torch.stack([x.sum(1) / x.shape[1], x.max(1).values], 1)
    return x * sigmoid(convolution(pooled, kernel))


def assert_follows(formula, block, x=X):
    """Compare the values and gradients of a block in float64 with those of `formula(x, state)`."""
    parameters = dict(block.named_parameters())
    state = {key: tensor.detach().clone() for key, tensor in block.state_dict().items()}
    for key in parameters:
        state[key].requires_grad_()
    x, copy = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = block(x), formula(copy, state)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    direction = maps(*x.shape, seed=7, dtype=torch.float64)
    ours = torch.autograd.grad((y * direction).sum(), [x, *parameters.values()])
    theirs = torch.autograd.grad((expected * direction).sum(), [copy, *(state[key] for key in parameters)])
    for key, mine, other in zip(["the input", *parameters], ours, theirs, strict=True):
        assert other.abs().max() > 0, key
        torch.testing.assert_close(
            mine, other, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}"
        )


def assert_same_as_timm(ours, theirs):
    """Load a block's weights into timm's block, whose names must be the same, and compare the outputs."""
    x = maps(3, 64, 6, 5, seed=5)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-6, atol=1e-6)
