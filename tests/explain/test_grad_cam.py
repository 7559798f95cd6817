"""Class activation maps: the published formula on any CNN, without side effects."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from fer_attention import build_model
from fer_attention.explain import grad_cam
from fer_attention.explain.grad_cam import CLASSES

FAMILIES = ["vgg11_bn", "resnet18", "resnetv2_18"]


def small_model(backbone, attention="cbam"):
    torch.manual_seed(0)
    stem = "imagenet" if backbone.startswith("vgg") else "half"
    return build_model(
        backbone, attention=attention, width=0.25, stem=stem, attention_options={"reduction": 4}
    ).eval()


def images(count=3, channels=1, size=48):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def grad_cam_by_formula(model, x, classes):
    """Compute Grad-CAM by equations 1 and 2 of the paper, scaled and enlarged."""
    features = model.forward_features(x).detach().requires_grad_()
    logits = model.forward_head(features)
    logits.gather(1, torch.tensor(classes)[:, None]).sum().backward()
    alpha = features.grad.mean((2, 3), keepdim=True)
    cam = (alpha * features).sum(1).relu().detach()
    cam = cam - cam.amin((1, 2), keepdim=True)
    cam = cam / (1e-7 + cam.amax((1, 2), keepdim=True))
    large = F.interpolate(cam[:, None], x.shape[2:], mode="bilinear")[:, 0]
    large = large - large.amin((1, 2), keepdim=True)
    return large / (1e-7 + large.amax((1, 2), keepdim=True))


@pytest.mark.parametrize("backbone", FAMILIES)
def test_maps_of_every_family_follow_the_published_formula(backbone):
    model, x = small_model(backbone), images()
    torch.testing.assert_close(
        grad_cam(model, x, target=[0, 3, 6]), grad_cam_by_formula(model, x, [0, 3, 6]), atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("backbone", "layer"),
    [
        ("resnetv2_18", "stages"),
        ("resnetv2_18", "stages.3"),
        ("resnetv2_18", "stem"),
        ("vgg11_bn", "features"),
    ],
)
def test_containers_can_be_explained(backbone, layer):
    maps = grad_cam(small_model(backbone), images(), layer=layer)
    assert maps.shape == (3, 48, 48)
    assert maps.amax() == pytest.approx(1, abs=1e-4)
    if layer == "stages":
        torch.testing.assert_close(maps, grad_cam(small_model(backbone), images(), layer="stages.3.blocks"))


@pytest.mark.parametrize("method", list(CLASSES))
@pytest.mark.parametrize("backbone", FAMILIES)
def test_every_method_returns_maps_in_0_1_of_the_image_size(method, backbone):
    maps = grad_cam(small_model(backbone), images(), method=method)
    assert maps.shape == (3, 48, 48)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_the_map_highlights_the_only_relevant_position():
    class Corner(nn.Module):
        """The logit of class 1 depends on the lower right corner."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1, bias=False)
            nn.init.ones_(self.conv.weight)

        def forward(self, x):
            maps = F.avg_pool2d(self.conv(x), 8)
            return torch.stack([maps[:, 0, 0, 0], maps[:, 1, 3, 3]], 1)

    model, x = Corner(), torch.zeros(1, 1, 32, 32)
    x[0, 0, 2, 2] = x[0, 0, 28, 29] = 1.0
    (heat,) = grad_cam(model, x, target=1, layer="conv", method="layercam")
    assert divmod(int(heat.argmax()), 32) == (28, 29)
    assert heat[2, 2] == 0


def test_the_default_target_is_the_most_probable_class():
    model, x = small_model("resnet18"), images(5)
    classes = model(x).argmax(1).tolist()
    assert torch.equal(grad_cam(model, x), grad_cam(model, x, target=classes))
    assert not torch.equal(grad_cam(model, x), grad_cam(model, x, target=[(c + 1) % 7 for c in classes]))


@pytest.mark.parametrize(
    ("backbone", "layer"),
    [("vgg11_bn", "features.6"), ("resnet18", "layer1"), ("resnetv2_18", "stages.0.blocks")],
)
def test_layercam_explains_the_first_stage_by_default(backbone, layer):
    model, x = small_model(backbone), images()
    assert torch.equal(
        grad_cam(model, x, method="layercam"), grad_cam(model, x, method="layercam", layer=layer)
    )


def test_batches_do_not_change_the_maps():
    model, x = small_model("resnet18"), images(5)
    torch.testing.assert_close(grad_cam(model, x, batch_size=2), grad_cam(model, x))


def test_torchvision_networks_need_a_layer_and_timm_networks_do_not():
    torch.manual_seed(0)
    ours, theirs = timm.create_model("resnet18").eval(), torchvision.models.resnet18().eval()
    theirs.load_state_dict(ours.state_dict())
    x = images(2, 3, 64)
    torch.testing.assert_close(
        grad_cam(ours, x, target=3), grad_cam(theirs, x, target=3, layer="layer4"), atol=1e-4, rtol=1e-3
    )
    with pytest.raises(ValueError, match="Name the layer"):
        grad_cam(theirs, x)


def test_an_earlier_layer_has_a_finer_map():
    model, x = small_model("resnet18"), images()
    fine, coarse = grad_cam(model, x, layer="layer2"), grad_cam(model, x)
    assert (fine.diff(dim=2).abs() > 0.2).sum() > (coarse.diff(dim=2).abs() > 0.2).sum()


@pytest.mark.parametrize("broken", [False, True])
def test_the_state_of_the_model_is_restored(broken):
    model = small_model("resnet18").train()
    model.fc.weight.requires_grad_(False)
    model.layer1.eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5) if parameter.ndim == 1 else None
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    if broken:
        with pytest.raises(ValueError, match="Classes are 0 to 6; got 9"):
            grad_cam(model, images(), target=9)
    else:
        grad_cam(model, images())
    assert {n: p.requires_grad for n, p in model.named_parameters()} == wanted
    assert all(parameter.grad is grads[name] for name, parameter in model.named_parameters())
    assert all((g is None) or bool((g == 0.5).all()) for g in grads.values())
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("backbone", FAMILIES)
def test_gradient_checkpointing_is_supported_and_stays_enabled(backbone):
    model, x = small_model(backbone), images()
    whole = grad_cam(model, x, method="layercam")
    model.set_grad_checkpointing(True)
    assert torch.equal(grad_cam(model, x, method="layercam"), whole)
    assert model.grad_checkpointing


def test_maps_can_be_computed_without_gradient_tracking():
    model, x = small_model("resnet18"), images()
    whole = grad_cam(model, x)
    with torch.inference_mode():
        made = images()
        assert torch.equal(grad_cam(model, made), whole)
    with torch.no_grad():
        assert torch.equal(grad_cam(model, x), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcamm"}, "Did you mean 'gradcam'"),
        ({"layer": "layer5"}, "Did you mean 'layer"),
        ({"layer": "fc"}, "has an output of shape \\(3, 7\\)"),
        ({"target": [1, 2]}, "got 2 for 3 images"),
        ({"target": -1}, "Classes are 0 to 6; got -1"),
        ({"target": 7}, "Classes are 0 to 6; got 7"),
    ],
)
def test_invalid_methods_layers_and_targets_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(small_model("resnet18"), images(), **options)


def test_a_layer_must_be_called_exactly_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.idle, self.fc = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3), nn.Linear(1, 2)

        def forward(self, x):
            return self.fc(self.conv(self.conv(x)).mean((2, 3)))

    for layer, times in (("conv", 2), ("idle", 0)):
        with pytest.raises(ValueError, match=f"calls {layer} {times} times"):
            grad_cam(Twice(), images(), layer=layer)
    with pytest.raises(ValueError, match="at least one"):
        grad_cam(Twice(), images()[:0], layer="conv")
