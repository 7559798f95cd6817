import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn.functional import interpolate

from fer_attention.classifiers import TorchClassifier
from fer_attention.evaluation import VIEWS, tta_probabilities
from fer_attention.models import create_model
from fer_attention.preprocessing import Preprocessing
from fer_attention.registry import UnknownNameError

LABELS = ("left", "right", "upper")


class Watcher:
    """A classifier that keeps its crops; its logits are means of the left, right and upper half."""

    labels = LABELS
    preprocessing = Preprocessing()

    def __init__(self):
        self.shown = []

    def probabilities(self, crops, *, batch_size=64):
        self.shown.append(crops)
        return softmax(self.logits(crops), axis=1)

    @staticmethod
    def logits(crops):
        height, width = crops.shape[-2:]
        parts = crops[..., : width // 2], crops[..., width // 2 :], crops[..., : height // 2, :]
        return np.stack([part.mean((1, 2, 3)) / 9 for part in parts], axis=1)


def torch_classifier(**structure):
    model = create_model("resnet18_se", width=0.25, stem="half", num_classes=3, **structure)
    model.labels, model.preprocessing = LABELS, Preprocessing()
    return TorchClassifier(model)


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), dtype=np.uint8)


def expected_views(crops, tta):
    if tta == "none":
        return [crops]
    if tta == "flip":
        return [crops, crops[..., ::-1]]
    views = []
    for picture in (crops, crops[..., ::-1]):
        for top, left in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)):
            part = torch.from_numpy(picture[:, :, top : top + 44, left : left + 44].astype(np.float32))
            resized = interpolate(part, (48, 48), mode="bilinear", align_corners=False)
            views.append(resized.round().to(torch.uint8).numpy())
    return views


@pytest.mark.parametrize("tta", VIEWS)
def test_documented_views_are_used_and_their_logits_averaged(tta, crops):
    watcher = Watcher()
    found = tta_probabilities(watcher, crops, tta=tta)
    expected = expected_views(crops, tta)
    assert len(watcher.shown) == len(expected)
    for view in expected:  # in any order
        assert any(np.array_equal(view, shown) for shown in watcher.shown)
    mean = np.mean([watcher.logits(view) for view in expected], axis=0)
    np.testing.assert_allclose(found, softmax(mean, axis=1), rtol=1e-9)


@pytest.mark.parametrize("tta", VIEWS)
def test_views_keep_type_and_size_with_odd_margins(tta):
    watcher = Watcher()
    tta_probabilities(watcher, np.zeros((2, 3, 33, 20), np.uint8), tta=tta)
    assert {(shown.shape, shown.dtype) for shown in watcher.shown} == {((2, 3, 33, 20), np.dtype(np.uint8))}


@pytest.mark.parametrize("tta", ["flip", "ten-crop"])
def test_mirrored_images_get_the_same_answer(tta, crops):
    classifier, mirror = torch_classifier(), np.ascontiguousarray(crops[..., ::-1])
    first, second = (tta_probabilities(classifier, images, tta=tta) for images in (crops, mirror))
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert not np.allclose(classifier.probabilities(crops), classifier.probabilities(mirror), atol=1e-4)


@pytest.mark.parametrize("tta", VIEWS)
def test_batch_size_and_mode_do_not_matter(tta, crops):
    classifier = torch_classifier(drop_rate=0.5)
    classifier.model.train()
    whole, parts = (tta_probabilities(classifier, crops, tta=tta, batch_size=size) for size in (256, 2))
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    assert classifier.model.training
    assert whole.dtype == np.float64


def test_no_augmentation_gives_the_plain_probabilities(crops):
    classifier = torch_classifier()
    np.testing.assert_allclose(
        tta_probabilities(classifier, crops), classifier.probabilities(crops), rtol=1e-12
    )


def test_unknown_views_suggest_the_nearest(crops):
    with pytest.raises(UnknownNameError, match="Did you mean 'ten-crop'"):
        tta_probabilities(Watcher(), crops, tta="tencrop")
