import math

import numpy as np
import pytest
import torch
from PIL import Image

from fer_attention.faces import CropRule, Face, cut_input
from fer_attention.preprocessing import Preprocessing


def test_normalize_uses_mean_and_std_of_pixels_from_0_to_1():
    record = Preprocessing(size=(2, 2), mean=(0.25,), std=(0.5,))
    crops = torch.tensor([[[[0, 51], [102, 255]]]], dtype=torch.uint8)
    expected = (np.array([[0, 51], [102, 255]]) / 255 - 0.25) / 0.5
    np.testing.assert_allclose(record.normalize(crops)[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "crops",
    [
        torch.zeros(1, 1, 4, 4),
        torch.zeros(1, 1, 4, 5, dtype=torch.uint8),
        torch.zeros(1, 4, 4, dtype=torch.uint8),
    ],
)
def test_normalize_refuses_other_types_and_shapes(crops):
    with pytest.raises(ValueError, match="Crops are uint8"):
        Preprocessing(size=(4, 4)).normalize(crops)


@pytest.mark.parametrize("channels", [1, 3])
def test_prepare_resizes_and_converts_like_pillow(channels):
    image = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    record = Preprocessing(size=(30, 20), channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels)
    expected = Image.fromarray(image).resize((20, 30), Image.Resampling.BILINEAR)
    expected = np.asarray(expected.convert("L" if channels == 1 else "RGB"))
    got = record.prepare(image[None])
    assert got.shape == (1, channels, 30, 20)
    np.testing.assert_array_equal(got[0].transpose(1, 2, 0).squeeze(), expected)


def test_a_crop_of_the_whole_frame_equals_the_prepared_frame():
    image = np.random.default_rng(1).integers(0, 256, (48, 48), dtype=np.uint8)
    record = Preprocessing(crop_rule=CropRule(scale=1.0))
    cut = cut_input(Image.fromarray(image), Face((0, 0, 48, 48), 1.0), record)
    assert np.array_equal(cut, record.prepare(image[None])[0])
    assert np.array_equal(cut[0], image)


def test_preprocessing_survives_json_and_refuses_unknown_fields():
    record = Preprocessing(
        size=(40, 44), mean=(0.1,), std=(0.2,), crop_rule=CropRule(scale=1.2, border="pad")
    )
    assert Preprocessing.from_json(record.to_json()) == record
    with pytest.raises(TypeError):
        Preprocessing.from_json(record.to_json().replace('"mean"', '"mead": [0], "mean"'))


@pytest.mark.parametrize(
    "fields",
    [
        {"channels": 2},
        {"mean": (0.1, 0.2)},
        {"std": (0.0,)},
        {"mean": ("x",)},
        {"std": (math.nan,)},
        {"size": (0, 4)},
        {"interpolation": "area"},
    ],
)
def test_preprocessing_refuses_impossible_numbers(fields):
    with pytest.raises(ValueError):  # noqa: PT011  (each has its own message)
        Preprocessing(**fields)
