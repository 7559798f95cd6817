"""One state dict, the same numbers here and in timm."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from fer_attention.models import build_model

DEPTHS = (18, 34, 50, 101, 152)
RESIDUAL = [f"{family}{depth}" for family in ("resnet", "resnetv2_") for depth in DEPTHS]
VGGS = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]


def faces(n, channels, size):
    return torch.randn(n, channels, *size, generator=torch.Generator().manual_seed(0))


def randomised(model, seed=0):
    """Norms away from their start, so that no branch is off and running statistics count."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # timm's BatchNormAct2d is one
            nn.init.uniform_(module.weight, 0.4, 0.9, generator=generator)
            nn.init.uniform_(module.bias, -0.2, 0.2, generator=generator)
            nn.init.uniform_(module.running_mean, -0.2, 0.2, generator=generator)
            nn.init.uniform_(module.running_var, 0.8, 1.5, generator=generator)
    return model


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnet34", "resnet50", "resnetv2_18", "resnetv2_34", "resnetv2_50", "vgg16", "vgg16_bn"],
)
def test_one_state_dict_gives_equal_logits_here_and_in_timm(name):
    torch.manual_seed(0)
    theirs = randomised(timm.create_model(name)).eval()
    ours = build_model(name, in_chans=3, num_classes=1000, img_size=224, device="meta")
    ours.load_state_dict(theirs.state_dict(), assign=True)  # strict: all names are timm's
    x = faces(2, 3, (224, 224))
    with torch.no_grad():
        expected, logits = theirs(x), ours.eval()(x)
    assert expected.std() > 1e-3
    assert expected.abs().max() < 1e3
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", RESIDUAL + VGGS)
def test_parameters_and_buffers_have_the_names_and_shapes_of_timm(name):
    ours = build_model(name, in_chans=3, num_classes=1000, img_size=224, device="meta").state_dict()
    theirs = timm.create_model(name, device="meta").state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnetv2_18"])
def test_one_state_dict_gives_equal_gradients_here_and_in_timm(name):
    torch.manual_seed(0)
    theirs = randomised(timm.create_model(name, num_classes=7)).train()
    ours = build_model(name, in_chans=3, img_size=64)
    ours.load_state_dict(theirs.state_dict())
    x, y = faces(4, 3, (64, 64)), torch.tensor([0, 3, 6, 1])
    losses = [F.cross_entropy(model.train()(x), y) for model in (ours, theirs)]
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)
    for loss in losses:
        loss.backward()
    expected = dict(theirs.named_parameters())
    for path, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad,
            expected[path].grad,
            rtol=1e-4,
            atol=1e-5,
            msg=lambda text, path=path: f"{path}: {text}",
        )
    for path, buffer in ours.named_buffers():
        torch.testing.assert_close(
            buffer, theirs.get_buffer(path), msg=lambda text, path=path: f"{path}: {text}"
        )
