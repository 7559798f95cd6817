"""The end of a residual block: the sum overwrites the norm's output where nobody can see it."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fer_attention.models import build_model


class Sums(TorchDispatchMode):
    """Count additions of maps, in place and not."""

    def __init__(self):
        super().__init__()
        self.in_place = self.new = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        maps = len(args) > 1 and all(isinstance(x, torch.Tensor) and x.ndim == 4 for x in args[:2])
        self.in_place += maps and func is torch.ops.aten.add_.Tensor
        self.new += maps and func is torch.ops.aten.add.Tensor
        return func(*args, **(kwargs or {}))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model("resnet18", width=0.125, activation="elu").eval()


@pytest.fixture
def images():
    return torch.randn(2, 1, 48, 48)


def sums_of(model, images):
    with Sums() as sums:
        model(images)
    return sums.in_place, sums.new


def test_sums_are_in_place_in_inference_only(model, images):
    expected = model(images)
    assert sums_of(model, images) == (0, 8)
    with torch.inference_mode():
        assert sums_of(model, images) == (8, 0)
        assert torch.equal(model(images), expected)
    with torch.no_grad():
        assert torch.equal(torch.vmap(model)(images[None])[0], expected)


def test_a_hook_keeps_the_output_of_its_norm(model, images):
    seen = {}
    for name in ("bn1", "bn2"):
        norm = model.layer1[0].get_submodule(name)
        norm.register_forward_hook(lambda _, __, y, name=name: seen.setdefault(name, y))
    model(images)
    expected = seen.pop("bn2")
    with torch.inference_mode():
        assert sums_of(model, images) == (7, 1)
    assert torch.equal(seen["bn2"], expected)


def test_mixed_types_are_promoted_as_in_training(model, images):
    block = model.layer1[0]
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        inner = block(x)
    with torch.autocast("cpu", torch.bfloat16):
        expected = block(x)
    assert inner.dtype == expected.dtype
    assert torch.equal(inner, expected)
