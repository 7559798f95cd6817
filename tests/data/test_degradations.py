"""Degradations: what all of them promise, and each against a formula or a library of others."""

import io
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from fer_attention.data import (
    DEGRADATIONS,
    FaceDataset,
    ImageFiles,
    degrade,
    degrade_crops,
    load_image_folder,
)
from fer_attention.data.degradations import EYE_LINE, FILTERS
from fer_attention.emotions import FER2013
from tests.support.datasets import noise, save

RANDOM = {"lower_face", "eyes", "resampling", "noise"}
HARMLESS = {
    "lower_face": 0,
    "eyes": 0,
    "gamma": 1,
    "blur": 0,
    "resolution": 1024,
    "resampling": 1024,
    "noise": 0,
}


def photos(count=3, channels=1, height=48, width=48, dtype=torch.float32):
    """Smooth shapes with some grain, so that every degradation shows."""
    rng = np.random.default_rng(count + channels)
    images = ndimage.gaussian_filter(rng.random((count, channels, height, width)), (0, 0, 3, 3))
    images = (images - images.min()) / np.ptp(images) + rng.normal(0, 0.05, images.shape)
    return torch.from_numpy(images.clip(0, 1)).to(dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def middle(name):
    return (DEGRADATIONS[name].low + DEGRADATIONS[name].high) / 2


every_name = pytest.mark.parametrize("name", DEGRADATIONS)


@every_name
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize(
    "form",
    [(3, 1, 48, 48), (2, 3, 48, 48), (2, 1, 24, 64), (2, 3, 50, 33), (1, 1, 3, 5), (0, 1, 48, 48)],
    ids=str,
)
def test_shape_type_and_range_are_kept_and_the_input_is_unchanged(name, form, dtype):
    images = photos(*form, dtype=dtype) if form[0] else torch.empty(form, dtype=dtype)
    before = images.clone()
    entry = DEGRADATIONS[name]
    for strength in (entry.low, entry.high, middle(name), torch.linspace(entry.low, entry.high, form[0])):
        worse = degrade(images, name, strength, generator=seeded())
        assert worse.shape == images.shape
        assert worse.dtype == dtype
        assert torch.isfinite(worse).all()
        assert not len(worse) or 0 <= worse.min() <= worse.max() <= 1
        assert torch.equal(images, before)


@every_name
def test_each_image_can_have_its_own_strength(name):
    images, low = photos(), DEGRADATIONS[name].low
    same = degrade(images, name, torch.full((3,), low), generator=seeded())
    torch.testing.assert_close(same, degrade(images, name, low, generator=seeded()))
    mixed = degrade(images, name, torch.tensor([low, middle(name), low]), generator=seeded())
    assert torch.equal(mixed[[0, 2]], same[[0, 2]])
    assert (mixed[1] - same[1]).abs().max() > 0.02


@every_name
def test_images_do_not_affect_each_other(name):
    images = photos(3)
    others = images.clone()
    others[1] = 1 - others[1]
    one, other = (degrade(batch, name, middle(name), generator=seeded()) for batch in (images, others))
    torch.testing.assert_close(one[[0, 2]], other[[0, 2]])


@every_name
def test_a_seeded_generator_repeats_and_keeps_the_global_random_state(name):
    images = photos()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    strength = 20 if name == "resampling" else middle(name)
    first, second, third = (degrade(images, name, strength, generator=seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert torch.equal(first, third) == (name not in RANDOM)
    globally = degrade(images, name, strength)
    torch.manual_seed(7)
    assert torch.equal(degrade(images, name, strength), globally)


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("height", [48, 50, 150])  # of 50 and 150, the centre of a row lies on the eye line
def test_the_harmless_strength_changes_nothing(name, height):
    images = photos(height=height)
    torch.testing.assert_close(degrade(images, name, HARMLESS[name], generator=seeded()), images)


@every_name
def test_strengths_out_of_range_are_refused_with_range_and_unit(name):
    entry = DEGRADATIONS[name]
    good = middle(name)
    for bad in (entry.low - 0.05, entry.high + 0.05, float("nan"), float("inf")):
        for strength in (bad, torch.tensor([good, bad, good])):
            with pytest.raises(
                ValueError, match=f"strength of {name} is {entry.low:g} to {entry.high:g} \\(.*got"
            ):
                degrade(photos(), name, strength)
    with pytest.raises(ValueError, match=f"strength of {name} is"):
        degrade(torch.empty(0, 1, 48, 48), name, entry.high + 1)


def test_unknown_names_and_malformed_text_explain_what_is_expected():
    with pytest.raises(ValueError, match="Unknown degradation 'blurr'. Did you mean 'blur'"):
        degrade(photos(), "blurr", 1)
    with pytest.raises(ValueError, match=r"one number or one per image, \(3,\), got \(2,\)"):
        degrade(photos(), "blur", torch.ones(2))
    with pytest.raises(ValueError, match=r"one per image, \(3,\), got \(3, 1\)"):
        degrade(photos(), "blur", torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"floats \(N, C, H, W\), got torch.uint8 \(3, 1, 48, 48\)"):
        degrade(photos().mul(255).byte(), "blur", 1)
    with pytest.raises(ValueError, match=r"floats \(N, C, H, W\), got torch.float32 \(48, 48\)"):
        degrade(photos()[0, 0], "blur", 1)


def test_blur_equals_scipy_gaussian_without_pixels_beyond_the_border():
    images, sigmas = photos(4, 3, 40, 56, torch.float64), [0.4, 1.0, 2.5, 6.0]
    blurred = degrade(images, "blur", torch.tensor(sigmas)).numpy()
    for image, sigma, found in zip(images.numpy(), sigmas, blurred, strict=True):
        for channel, plane in enumerate(image):

            def smooth(plane, sigma=sigma):
                return ndimage.gaussian_filter(plane, sigma, mode="constant", truncate=20)

            expected = smooth(plane) / smooth(np.ones_like(plane))
            np.testing.assert_allclose(found[channel], expected, atol=1e-6)
    inner = (slice(None), slice(16, 24), slice(16, 40))  # five standard deviations from the border
    expected = ndimage.gaussian_filter(images[2].numpy(), (0, 2.5, 2.5), truncate=5)
    np.testing.assert_allclose(blurred[2][inner], expected[inner], atol=1e-5)


def through(plane, side, down, up):
    """Shrunk to side × side pixels and enlarged again by Pillow, as floats, (H, W)."""
    image = Image.fromarray(plane)
    shrunk = image.resize((min(side, image.width), min(side, image.height)), down)
    return np.asarray(shrunk.resize(image.size, up)).clip(0, 1)


def test_resolution_equals_bilinear_resizing_in_pillow():
    images, sides = photos(5, 3, 40, 56), [4, 17, 39, 48, 300]
    worse = degrade(images, "resolution", torch.tensor(sides)).numpy()
    bilinear = Image.Resampling.BILINEAR
    for image, side, found in zip(images.numpy(), sides, worse, strict=True):
        expected = [through(plane, side, bilinear, bilinear) for plane in image]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_resampling_draws_both_filters_for_each_image():
    images = photos(96, 1, 40, 56)
    sides = torch.linspace(5, 30, 96).round()
    worse = degrade(images, "resampling", sides, generator=seeded()).numpy()
    drawn = set()
    for image, side, found in zip(images.numpy(), sides.int().tolist(), worse, strict=True):
        errors = {
            (down, up): np.abs(through(image[0], side, down, up) - found[0]).max()
            for down in FILTERS
            for up in FILTERS
        }
        pair = min(errors, key=errors.get)
        assert errors[pair] < 1e-5
        drawn.add(pair)
    assert len(drawn) == len(FILTERS) ** 2


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_equals_a_file_written_by_pillow(channels):
    qualities = [1, 10, 35, 75, 95, 100]
    images = photos(len(qualities), channels, 40, 56)
    worse = degrade(images, "jpeg", torch.tensor(qualities)).mul(255).round().byte()
    for image, quality, found in zip(images.mul(255).round().byte(), qualities, worse, strict=True):
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy().squeeze()).save(file, "JPEG", quality=quality)
        expected = np.atleast_3d(np.asarray(Image.open(file)))
        np.testing.assert_array_equal(found.permute(1, 2, 0), expected)


def test_jpeg_equals_a_file_written_by_opencv():
    cv2 = pytest.importorskip("cv2")
    qualities = [1, 35, 75, 100]
    images = photos(len(qualities), 1, 40, 56)
    worse = degrade(images, "jpeg", torch.tensor(qualities)).mul(255).round().byte()
    for image, quality, found in zip(images.mul(255).round().byte(), qualities, worse, strict=True):
        _, file = cv2.imencode(".jpg", image[0].numpy(), [cv2.IMWRITE_JPEG_QUALITY, quality])
        np.testing.assert_array_equal(found[0], cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))


def test_jpeg_refuses_other_numbers_of_channels():
    with pytest.raises(ValueError, match=r"1 channel \(grey\) or 3 \(RGB\), got 2"):
        degrade(photos(2, 2), "jpeg", 50)


def test_noise_has_the_given_standard_deviation_and_zero_mean():
    images = torch.full((4, 3, 200, 200), 0.5, dtype=torch.float64)
    sigmas = np.array([0, 2, 10, 25])
    added = (degrade(images, "noise", torch.from_numpy(sigmas), generator=seeded()) - images).numpy() * 255
    np.testing.assert_allclose(added.std((1, 2, 3)), sigmas, rtol=0.02)
    np.testing.assert_allclose(added.mean((1, 2, 3)), 0, atol=0.3)
    values = added[2].ravel()
    assert np.abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    assert np.mean(np.abs(values) < 10) == pytest.approx(0.6827, abs=0.01)  # as a Gaussian has


def test_gamma_is_a_power():
    images, gammas = photos(4, 3, dtype=torch.float64), np.array([0.1, 0.5, 2, 10])
    worse = degrade(images, "gamma", torch.from_numpy(gammas))
    np.testing.assert_allclose(worse, images.numpy() ** gammas[:, None, None, None], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "height", "strength", "first", "end"),
    [
        ("lower_face", 48, 0.5, 24, 48),
        ("lower_face", 48, 1 / 3, 32, 48),
        ("lower_face", 10, 0.26, 7, 10),  # the centre of row 7 lies at 0.75
        ("lower_face", 48, 1, 0, 48),
        ("eyes", 48, 0.25, 13, 25),  # from 0.265 to 0.515
        ("eyes", 100, 0.1, 34, 44),
        ("eyes", 100, 1, 0, 89),
    ],
)
def test_bars_cover_their_rows_with_one_grey(name, height, strength, first, end):
    images = photos(3, 3, height)
    worse = degrade(images, name, strength, generator=seeded())
    bars = worse[:, :, first:end]
    assert torch.equal(bars, bars[:, :1, :1, :1].expand_as(bars))
    assert len(bars[:, 0, 0, 0].unique()) == 3
    assert torch.equal(worse[:, :, :first], images[:, :, :first])
    assert torch.equal(worse[:, :, end:], images[:, :, end:])
    assert first <= EYE_LINE * height < end or name == "lower_face"


def crops_of(images):
    """A record with all its columns."""
    count = len(images)
    return FaceDataset(
        images=images,
        labels=np.arange(count) % 7,
        names=np.array([f"face{i}" for i in range(count)]),
        splits=np.array(["train", "public"])[np.arange(count) % 2],
        label_names=FER2013,
        subjects=np.array([f"S{i % 3}" for i in range(count)]),
        sequences=np.array([f"S{i % 3}_{i}" for i in range(count)]),
        targets=np.eye(7, dtype=np.float32)[np.arange(count) % 7],
        votes=np.arange(10 * count).reshape(count, 10),
        skipped=(("gone", "damaged"),),
    )


@every_name
@pytest.mark.parametrize("form", [(5, 48, 48), (5, 48, 48, 3), (3, 24, 40, 3)], ids=str)
def test_degrading_crops_changes_only_pixels(name, form):
    crops = crops_of(noise(0, form))
    before = crops.images.copy()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    strength = 20 if name.startswith("res") else middle(name)
    worse = degrade_crops(crops, name, strength, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert worse.images.dtype == np.uint8
    assert worse.images.shape == form
    assert (worse.images != before).any()
    np.testing.assert_array_equal(crops.images, before)
    for column in {field.name for field in fields(FaceDataset)} - {"images"}:
        assert getattr(worse, column) is getattr(crops, column)
    torch.manual_seed(8)
    np.testing.assert_array_equal(degrade_crops(crops, name, strength, seed=1).images, worse.images)
    again = degrade_crops(crops, name, strength, seed=2)
    assert (again.images == worse.images).all() == (name not in RANDOM)


@pytest.mark.parametrize("form", [(2100, 6, 5), (1025, 6, 5, 3)], ids=str)
def test_crops_of_several_blocks_are_degraded_once_in_order(form):
    crops = crops_of(noise(0, form))
    expected = (255 * (crops.images / 255) ** 2).round()
    np.testing.assert_array_equal(degrade_crops(crops, "gamma", 2).images, expected)
    noisy = degrade_crops(crops_of(np.full(form, 128, np.uint8)), "noise", 20).images
    assert len(np.unique(noisy.reshape(len(noisy), -1), axis=0)) == len(noisy)  # blocks draw on, not again


def test_untouched_pixels_stay_exactly_equal():
    crops = crops_of(np.arange(256, dtype=np.uint8).reshape(1, 16, 16))
    for name, strength in HARMLESS.items():
        np.testing.assert_array_equal(degrade_crops(crops, name, strength).images, crops.images)


def test_crops_on_disk_are_degraded_into_memory(tmp_path):
    for number in range(3):
        save(tmp_path / "happy" / f"{number}.png", noise(number))
    crops = load_image_folder(tmp_path, stream=True)
    assert isinstance(crops.images, ImageFiles)
    worse = degrade_crops(crops, "lower_face", 0.5)
    np.testing.assert_array_equal(worse.images[:, :24], [noise(number)[:24] for number in range(3)])


def test_empty_crops_are_validated_like_images():
    crops = crops_of(noise(0, (3, 48, 48)))
    assert len(degrade_crops(crops.take([]), "blur", 1)) == 0
    for some in (crops, crops.take([])):
        with pytest.raises(ValueError, match=r"strength of blur is 0 to 16 .*, got 17"):
            degrade_crops(some, "blur", 17)
        with pytest.raises(ValueError, match="Unknown degradation 'nose'. Did you mean 'noise'"):
            degrade_crops(some, "nose", 1)
