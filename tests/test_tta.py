import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from fer_attention.evaluation import VIEWS, predict_logits, tta_logits
from fer_attention.models import create_model
from fer_attention.registry import UnknownNameError


class Watcher(nn.Module):
    """Keeps what it is shown; its logits are the left half's, the right half's and the upper half's means."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.shown = []

    def forward(self, x):
        self.shown.append(x)
        height, width = x.shape[-2:]
        parts = x[..., : width // 2], x[..., width // 2 :], x[..., : height // 2, :]
        return self.scale * torch.stack([part.mean((1, 2, 3)) for part in parts], dim=1)


@pytest.fixture
def images():
    return torch.randn(5, 1, 48, 48, generator=torch.Generator().manual_seed(0))


def expected_views(images, tta):
    if tta == "none":
        return [images]
    if tta == "flip":
        return [images, torch.flip(images, [3])]
    views = []
    for picture in (images, torch.flip(images, [3])):
        for top, left in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)):
            crop = picture[:, :, top : top + 44, left : left + 44]
            views.append(interpolate(crop, (48, 48), mode="bilinear", align_corners=False))
    return views


@pytest.mark.parametrize("tta", VIEWS)
def test_views_are_the_documented_ones_and_their_logits_are_averaged(tta, images):
    model = Watcher()
    logits = tta_logits(model, images, tta=tta)
    expected = expected_views(images, tta)
    assert len(model.shown) == len(expected)
    for view in expected:  # in any order
        assert any(torch.equal(view, shown) for shown in model.shown)
    mean = torch.stack([model(view) for view in expected]).mean(0)
    torch.testing.assert_close(logits, mean.detach(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("tta", VIEWS)
def test_views_keep_the_input_size_also_when_crops_have_odd_margins(tta):
    model = Watcher()
    tta_logits(model, torch.randn(2, 3, 33, 20), tta=tta, crop_scale=0.8)
    assert {tuple(shown.shape) for shown in model.shown} == {(2, 3, 33, 20)}


@pytest.mark.parametrize("tta", ["flip", "ten-crop"])
def test_mirrored_images_get_the_same_answer(tta, images):
    model = create_model("resnet18_se", width=0.25, stem="half").eval()
    mirrored = tta_logits(model, images.flip(-1), tta=tta)
    torch.testing.assert_close(mirrored, tta_logits(model, images, tta=tta), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(
        predict_logits(model, images.flip(-1)), predict_logits(model, images), atol=1e-3
    )


def test_crops_of_the_whole_image_are_the_image_and_its_mirror(images):
    model = Watcher()
    whole = tta_logits(model, images, tta="ten-crop", crop_scale=1)
    torch.testing.assert_close(whole, tta_logits(model, images, tta="flip"))


@pytest.mark.parametrize("tta", VIEWS)
def test_neither_batches_nor_modes_matter(tta, images):
    model = create_model("resnet18", width=0.25, stem="half", drop_rate=0.5).train()
    whole, parts = (tta_logits(model, images, tta=tta, batch_size=size) for size in (256, 2))
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-5)
    assert model.training
    assert whole.dtype == torch.float32
    assert whole.device.type == "cpu"


def test_one_plain_pass_is_predict_logits(images):
    model = Watcher()
    assert torch.equal(tta_logits(model, images), predict_logits(model, images))


def test_unknown_views_suggest_the_nearest(images):
    with pytest.raises(UnknownNameError, match="Did you mean 'ten-crop'"):
        tta_logits(Watcher(), images, tta="tencrop")


@pytest.mark.parametrize("crop_scale", [0, 1.1, -1])
def test_crop_scales_that_are_no_share_are_refused(crop_scale, images):
    with pytest.raises(ValueError, match="crop_scale"):
        tta_logits(Watcher(), images, tta="ten-crop", crop_scale=crop_scale)
