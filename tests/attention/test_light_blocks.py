"""The light blocks' numbers and gradients against their equations, written a second way, in float64.

The formulas loop over samples, groups and positions or spell sums out by einsum; batch norm is written out.
"""

import pytest
import torch
from timm.layers import GlobalContext
from torch.nn import functional as F

from fer_attention.attention import ATTENTIONS
from tests.support.gates import C, distinct, gate, maps

X = distinct(3, C, 5, 4, seed=3)


def sigmoid(z):
    return 1 / (1 + (-z).exp())


def mean_of_channels(x):
    return torch.einsum("nchw->nc", x) / (x.shape[2] * x.shape[3])


def normalised(z, state, prefix, training):
    """Batch norm of (N, C, ...) by its definition, with the batch's or the running statistics."""
    flat = z.transpose(0, 1).flatten(1)
    mean = flat.sum(1) / flat.shape[1]
    variance = ((flat - mean[:, None]) ** 2).sum(1) / flat.shape[1]
    if not training:
        mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    shape = (-1,) + (1,) * (z.ndim - 2)
    z = (z - mean.view(shape)) / (variance.view(shape) + 1e-5) ** 0.5
    return z * state[f"{prefix}.weight"].view(shape) + state[f"{prefix}.bias"].view(shape)


def convolved(x, kernel, bias=None, dilation=1):
    """A convolution that keeps the size, as a sum over the kernel's positions."""
    k, (height, width) = kernel.shape[-1], x.shape[2:]
    reach = dilation * (k // 2)
    padded = F.pad(x, (reach,) * 4)
    total = 0
    for i in range(k):
        for j in range(k):
            part = padded[:, :, i * dilation :, j * dilation :][:, :, :height, :width]
            total = total + torch.einsum("oc,nchw->nohw", kernel[:, :, i, j], part)
    return total if bias is None else total + bias.view(-1, 1, 1)


def ecbam(x, p, training):
    kernel, z = p["channel.conv.weight"].flatten(), mean_of_channels(x)
    half, weights = len(kernel) // 2, []
    for c in range(x.shape[1]):
        near = range(max(0, c - half), min(x.shape[1], c + half + 1))
        weights.append(sigmoid(sum(kernel[other - c + half] * z[:, other] for other in near)))
    refined = x * torch.stack(weights, 1)[:, :, None, None]
    pooled = torch.stack([refined.sum(1) / x.shape[1], refined.max(1).values], 1)
    return refined * sigmoid(convolved(pooled, p["spatial.conv.weight"]))


def coord(x, p, training):
    rows, columns = (torch.einsum(f"nchw->nc{keep}", x) for keep in "hw")
    joint = torch.cat([rows / x.shape[3], columns / x.shape[2]], 2)
    hidden = normalised(torch.einsum("oc,nci->noi", p["conv1.weight"][:, :, 0, 0], joint), p, "bn1", training)
    hidden = hidden * ((hidden + 3).clamp(0, 6) / 6)
    of_rows, of_columns = (
        sigmoid(
            torch.einsum("co,noi->nci", p[f"conv_{side}.weight"][:, :, 0, 0], part)
            + p[f"conv_{side}.bias"][:, None]
        )
        for side, part in (("h", hidden[:, :, : x.shape[2]]), ("w", hidden[:, :, x.shape[2] :]))
    )
    return torch.einsum("nchw,nch,ncw->nchw", x, of_rows, of_columns)


def simam(x, p, training):
    y = torch.empty_like(x)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            t = x[n, c]
            mu = t.sum() / t.numel()
            v = ((t - mu) ** 2).sum() / t.numel()
            energy = 4 * (v + 1e-4) / ((t - mu) ** 2 + 2 * v + 2 * 1e-4)
            y[n, c] = t * sigmoid(1 / energy)
    return y


def sge(x, p, training):
    gamma, beta = p["weight"], p["bias"]
    size = x.shape[1] // len(gamma)
    y = torch.empty_like(x)
    for n in range(x.shape[0]):
        for g in range(len(gamma)):
            vectors = x[n, g * size : (g + 1) * size].flatten(1).T  # one per position
            c = torch.stack([vector @ vectors.mean(0) for vector in vectors])
            mu = c.mean()
            sigma = ((c - mu) ** 2).mean() ** 0.5
            enhanced = vectors * sigmoid(gamma[g] * (c - mu) / (sigma + 1e-5) + beta[g])[:, None]
            y[n, g * size : (g + 1) * size] = enhanced.T.unflatten(1, x.shape[2:])
    return y


def gct(x, p, training):
    y = torch.empty_like(x)
    for n in range(x.shape[0]):
        s = torch.stack([p["alpha"][c] * ((x[n, c] ** 2).sum() + 1e-5) ** 0.5 for c in range(x.shape[1])])
        hat = x.shape[1] ** 0.5 * s / ((s**2).sum() + 1e-5) ** 0.5
        for c in range(x.shape[1]):
            y[n, c] = x[n, c] * (1 + torch.tanh(p["gamma"][c] * hat[c] + p["beta"][c]))
    return y


def bam(x, p, training):
    hidden = torch.einsum("hc,nc->nh", p["channel.0.weight"][:, :, 0, 0], mean_of_channels(x))
    hidden = (hidden + p["channel.0.bias"]).clamp(min=0)
    channel = torch.einsum("ch,nh->nc", p["channel.2.weight"][:, :, 0, 0], hidden)
    channel = normalised(channel, p, "channel.3", training)[:, :, None, None]
    z = x
    for layer, dilation in (("0", 1), ("2", 4), ("4", 4)):
        z = convolved(z, p[f"spatial.{layer}.weight"], p[f"spatial.{layer}.bias"], dilation).clamp(min=0)
    spatial = normalised(convolved(z, p["spatial.6.weight"]), p, "spatial.7", training)
    return x + x * sigmoid(channel + spatial)


def triplet(x, p, training):
    """As in the paper: turn the map so that the pooled dimension comes first, gate, turn back."""
    total = 0
    for branch, there, back in (
        ("cw", "nchw->nhcw", "nhcw->nchw"),
        ("ch", "nchw->nwch", "nwch->nchw"),
        ("hw", "nchw->nchw", "nchw->nchw"),
    ):
        turned = torch.einsum(there, x)
        pooled = torch.stack([turned.max(1).values, turned.sum(1) / turned.shape[1]], 1)
        plane = normalised(convolved(pooled, p[f"{branch}.0.weight"]), p, f"{branch}.1", training)
        total = total + torch.einsum(back, turned * sigmoid(plane))
    return total / 3


def gc(x, p, training):
    y = torch.empty_like(x)
    for n in range(x.shape[0]):
        vectors = x[n].flatten(1).T
        scores = torch.stack([(p["key.weight"].flatten() * vector).sum().exp() for vector in vectors])
        context = sum(score * vector for score, vector in zip(scores, vectors, strict=True)) / scores.sum()
        z = p["fc1.weight"] @ context + p["fc1.bias"]
        z = (z - z.mean()) / (((z - z.mean()) ** 2).mean() + 1e-5) ** 0.5
        z = (z * p["norm.weight"] + p["norm.bias"]).clamp(min=0)
        y[n] = x[n] + (p["fc2.weight"] @ z + p["fc2.bias"])[:, None, None]
    return y


CASES = [
    ("ecbam", ecbam, {}),
    ("ecbam", ecbam, {"kernel_size": 3, "eca_kernel_size": 7}),
    ("coord", coord, {}),
    ("coord", coord, {"reduction": 2}),
    ("simam", simam, {}),
    ("sge", sge, {}),
    ("sge", sge, {"groups": 4}),
    ("gct", gct, {}),
    ("bam", bam, {"reduction": 4}),
    ("triplet", triplet, {}),
    ("triplet", triplet, {"kernel_size": 3}),
    ("gc", gc, {"reduction": 4}),
]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    ("name", "formula", "options"), CASES, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_values_and_gradients_are_those_of_the_equations(name, formula, options, training):
    block = gate(name, dtype=torch.float64, **options).train(training)
    parameters = dict(block.named_parameters())
    copies = {key: tensor.detach().clone() for key, tensor in block.state_dict().items()}
    for key in parameters:
        copies[key].requires_grad_()
    inputs, copied = X.clone().requires_grad_(), X.clone().requires_grad_()
    y, expected = block(inputs), formula(copied, copies, training)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    direction = maps(*X.shape, seed=7, dtype=torch.float64)
    ours = torch.autograd.grad((y * direction).sum(), [inputs, *parameters.values()])
    theirs = torch.autograd.grad((expected * direction).sum(), [copied, *(copies[key] for key in parameters)])
    for key, mine, other in zip(["the input", *parameters], ours, theirs, strict=True):
        assert other.abs().max() > 0, key
        torch.testing.assert_close(
            mine, other, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_every_light_block_has_its_equations_here():
    assert {name for name, _, _ in CASES} == set(ATTENTIONS) - {"se", "eca", "cbam"}


class TestTimmParity:
    """The blocks that timm has too; its biases before a norm and a softmax change nothing."""

    x = maps(3, 64, 6, 5, seed=5)

    @pytest.mark.parametrize("training", [True, False])
    def test_coordinate_attention_is_timm_s(self, training):
        layers = pytest.importorskip("timm.layers.coord_attn")
        ours = gate("coord", 64, reduction=4).train(training)
        theirs = layers.CoordAttn(64, rd_channels=16, bias=True).train(training)
        absent = theirs.load_state_dict(ours.state_dict(), strict=False)
        assert (absent.missing_keys, absent.unexpected_keys) == (["conv1.bias"], [])
        if not training:  # running statistics do not take the bias out
            torch.nn.init.zeros_(theirs.conv1.bias)
        torch.testing.assert_close(ours(self.x), theirs(self.x), rtol=1e-5, atol=1e-6)

    def test_the_global_context_block_is_timm_s(self):
        ours = gate("gc", 64, reduction=4)
        theirs = GlobalContext(64, rd_channels=16, fuse_add=True, fuse_scale=False)
        theirs.mlp_add.norm.eps = ours.norm.eps  # timm's 1e-6 against the paper's code's 1e-5
        names = {"key": "conv_attn", "fc1": "mlp_add.fc1", "norm": "mlp_add.norm", "fc2": "mlp_add.fc2"}
        state = {
            f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value
            for key, value in ours.state_dict().items()
        }
        state = {key: value.reshape(theirs.state_dict()[key].shape) for key, value in state.items()}
        absent = theirs.load_state_dict(state, strict=False)
        assert (absent.missing_keys, absent.unexpected_keys) == (["conv_attn.bias"], [])
        torch.testing.assert_close(ours(self.x), theirs(self.x), rtol=1e-5, atol=1e-6)
