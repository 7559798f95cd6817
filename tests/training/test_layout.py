"""Tests of the memory format of a run."""

from __future__ import annotations

import pytest
import torch

from fer_attention.models import create_model
from fer_attention.training.layout import NARROWEST, memory_format
from tests.support.forked import run_python

GRADIENTS = """
import sys, torch
torch.set_num_threads(2)
for case in sys.argv[1:]:
    print(case, flush=True)
    channels, layout = int(case.split()[0]), getattr(torch, case.split()[1])
    images = torch.randn(21, channels, 24, 24).contiguous(memory_format=layout)
    weight = torch.randn(2 * channels, channels, 1, 1, requires_grad=True)
    for _ in range(60):
        heap = [torch.empty(size) for size in (3, 7, 17, 33, 65, 129, 257, 513, 1025, 2049, 4097, 9000)]
        out = torch.nn.functional.conv2d(images, weight, stride=2)
        torch.autograd.grad(out, weight, torch.randn_like(out))
        del heap
"""


@pytest.mark.parametrize(
    ("model", "width", "device", "expected"),
    [
        ("resnet18", 0.125, "cpu", torch.contiguous_format),
        ("resnetv2_18_eca_elu", 0.125, "cpu", torch.contiguous_format),
        ("resnet18", 0.25, "cpu", torch.channels_last),
        ("resnet18", 0.125, "cuda", torch.channels_last),
        ("vgg11", 0.125, "cpu", torch.channels_last),  # no strided convolution
    ],
)
def test_narrow_strided_convolutions_are_not_channels_last_on_cpus(model, width, device, expected):
    network, found = create_model(model, width=width, device="meta"), torch.device(device)
    assert memory_format(network, found, channels_last=True) == expected
    assert memory_format(network, found, channels_last=False) == torch.contiguous_format


def test_gradients_of_the_formats_that_are_chosen_do_not_crash():
    """PyTorch's own operators, so that a new release that crashes elsewhere is noticed."""
    cases = [f"{NARROWEST} channels_last", "8 contiguous_format", "2 contiguous_format"]
    code, output, errors = run_python("-c", GRADIENTS, *cases)
    assert (code, output.splitlines()) == (0, cases), errors
