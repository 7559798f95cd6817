import functools

import numpy as np
import pytest
from PIL import Image
from torch import nn

from fer_attention.data import DataError, FaceDataset, ImageFiles
from fer_attention.emotions import FER2013
from fer_attention.evaluation import (
    accuracy,
    complexity,
    match_labels,
    paper_parameters,
    predict_crops,
    wilson_interval,
)
from fer_attention.evaluation.accuracy import mean_interval
from fer_attention.models import build_model, create_model, list_models
from fer_attention.preprocessing import Preprocessing

# Millions of parameters as printed by Miskow and Altahhan 2022, all with ELU: none, SE, ECA, CBAM.
PAPER = {
    "vgg16": (39.92, 39.95, 39.92, 39.95),
    "vgg19": (42.87, 45.26, 45.23, 45.26),
    "resnet50": (23.49, 26.02, 23.65, 26.02),
    "resnet101": (42.46, 47.24, 42.81, 47.24),
    "resnet152": (58.08, 64.71, 58.60, 64.71),
    "resnetv2_50": (23.48, 26.01, 23.64, 26.01),
    "resnetv2_101": (42.44, 47.22, 42.79, 47.22),
    "resnetv2_152": (58.05, 64.68, 58.57, 64.69),
}
CELLS = [
    (f"{backbone}{suffix}_elu", count)
    for backbone, counts in PAPER.items()
    for suffix, count in zip(("", "_se", "_eca", "_cbam"), counts, strict=True)
]


@pytest.mark.parametrize(("name", "millions"), CELLS)
def test_the_papers_parameter_counts_follow_from_its_convention(name, millions):
    difference = paper_parameters(name) / 1e6 - millions
    if name == "vgg19_elu":  # printed 42.87 cannot be: its own ECA row, 5 k gate weights more, says 45.23
        assert difference == pytest.approx(2.36, abs=0.01)
    else:
        assert abs(difference) < 0.01


def test_complexity_counts_a_convolution_as_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8 * 4 * 5, 7))
    costs = complexity(model, (3, 8, 10))
    assert costs.parameters == (3 * 9 + 1) * 8 + (160 + 1) * 7
    assert costs.macs == 8 * 4 * 5 * 27 + 160 * 7
    assert costs.activations == 160 + 7


def test_complexity_of_resnet50_is_the_published_one():
    model = build_model("resnet50", in_chans=3, num_classes=1000, img_size=224, device="meta")
    costs = complexity(model)
    assert costs.parameters == 25_557_032  # torchvision's and timm's count
    assert costs.macs / 1e9 == pytest.approx(4.09, abs=0.01)
    assert costs.activations / 1e6 == pytest.approx(11.1, abs=0.05)


def test_complexity_leaves_no_trace_and_asks_for_a_size():
    model = build_model("resnet18", width=0.25).train()
    complexity(model)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="input_size"):
        complexity(nn.Linear(2, 2))


def test_eca_adds_its_kernels_only():
    plain = complexity(build_model("resnet18", device="meta")).parameters
    gated = complexity(build_model("resnet18", attention="eca", device="meta")).parameters
    assert gated - plain == 2 * (3 + 5 + 5 + 5)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # R: prop.test(correct, n, correct = FALSE)$conf.int
    [(0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (50, 100, 0.4038315, 0.5961685)],
)
def test_wilson_interval_matches_the_textbook(correct, n, low, high):
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=1e-6)


def test_wilson_interval_solves_its_defining_equation():
    correct, n, z = 2400, 3589, 1.959963984540054
    for end in wilson_interval(correct, n):
        assert abs(correct / n - end) == pytest.approx(z * np.sqrt(end * (1 - end) / n), rel=1e-9)


@pytest.mark.parametrize("recalls", [(0.5, 0.9), (0.97, 0.6, 0.8)])
def test_the_interval_of_balanced_accuracy_covers_the_truth_in_95_of_100_samples(recalls):
    generator = np.random.default_rng(0)
    sizes = [20, 60, 200][: len(recalls)]
    covered = []
    for _ in range(2000):
        right = [int(generator.binomial(n, recall)) for n, recall in zip(sizes, recalls, strict=True)]
        low, high = mean_interval(list(zip(right, sizes, strict=True)))
        covered.append(low <= np.mean(recalls) <= high)
    assert 0.935 < np.mean(covered) < 0.975  # three standard errors of 2,000 draws are 0.015


def test_accuracy_and_balanced_accuracy_by_hand():
    labels = np.array([0, 0, 0, 1])
    result = accuracy(np.array([0, 0, 1, 1]), labels)
    assert (result.correct, result.n, result.value) == (3, 4, 0.75)
    assert result.balanced == pytest.approx((2 / 3 + 1) / 2)
    for bad in (np.array([0]), np.zeros((4, 1), int)):
        with pytest.raises(ValueError, match="two arrays"):
            accuracy(bad, labels)


@functools.cache
def plain_resnet18():
    return complexity(create_model("resnet18", device="meta"))


@pytest.mark.parametrize("name", list_models("resnet18*"))
def test_gates_cost_little_and_activations_nothing(name):
    plain, costs = plain_resnet18(), complexity(create_model(name, device="meta"))
    if name.removesuffix("_elu") == "resnet18":
        assert costs == plain
    else:
        assert 1 <= costs.parameters / plain.parameters < 1.02
        assert 1 <= costs.macs / plain.macs < 1.02
        assert (costs.parameters == plain.parameters) == ("simam" in name)


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_on_the_disk_are_predicted_block_by_block_as_those_in_memory(channels, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 48, 48), dtype=np.uint8)
    files = tuple(tmp_path / f"{number}.png" for number in range(7))
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    model = create_model("resnet18", width=0.25, stem="half", in_chans=channels)
    model.preprocessing = Preprocessing((48, 48), channels, (0.5,) * channels, (0.5,) * channels)
    columns = np.arange(7), np.arange(7).astype(str), np.repeat("all", 7), FER2013
    on_disk = FaceDataset(ImageFiles(files, channels=channels), *columns)
    in_memory = FaceDataset(on_disk.images[:], *columns)
    whole = predict_crops(model, in_memory)
    monkeypatch.setattr("fer_attention.evaluation.crops.BLOCK", 3)
    np.testing.assert_allclose(predict_crops(model, on_disk), whole, atol=1e-6)
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-12)
    assert whole.shape == (7, 7)


def test_a_model_without_preprocessing_and_no_crops_are_refused():
    model = create_model("resnet18", width=0.25)
    crops = FaceDataset(
        np.zeros((1, 48, 48), np.uint8), np.zeros(1, int), np.array(["a"]), np.array(["all"]), FER2013
    )
    model.preprocessing = None
    with pytest.raises(ValueError, match="model lacks preprocessing"):
        predict_crops(model, crops)
    model.preprocessing = Preprocessing()
    with pytest.raises(ValueError, match="no image"):
        predict_crops(model, crops.take(np.zeros(1, dtype=bool)))


def test_labels_are_matched_by_name_and_unknown_ones_only_matter_if_they_occur():
    images = np.zeros((3, 48, 48), np.uint8)
    names = np.array(list("abc")), np.repeat("all", 3)
    crops = FaceDataset(images, np.array([1, 0, 1]), *names, ("joy", "Sadness", "contempt"))
    matched, dropped = match_labels(crops, FER2013)
    assert [FER2013[label] for label in matched.labels] == ["sad", "happy", "sad"]
    assert (matched.label_names, dropped) == (FER2013, {})
    with_contempt = FaceDataset(images, np.array([2, 0, 1]), *names, crops.label_names)
    with pytest.raises(DataError, match=r"contempt \(images: 1\)"):
        match_labels(with_contempt, FER2013)
    matched, dropped = match_labels(with_contempt, FER2013, drop_unknown=True)
    assert matched.names.tolist() == ["b", "c"]
    assert dropped == {"contempt": 1}
