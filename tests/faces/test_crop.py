"""Crops of faces by their boxes, and the rules they follow."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_attention.faces import CropRule, crop_face, crop_region
from tests.support.boxes import BOXES


def noise(width, height, mode="RGB"):
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def meets(box, size):
    return box[0] < size[0] and box[1] < size[1] and box[2] > 0 and box[3] > 0


RULES = st.builds(
    CropRule,
    shape=st.sampled_from(["square", "box"]),
    scale=st.floats(0.05, 5),
    reference=st.sampled_from(["height", "width", "longest"]),
    border=st.sampled_from(["clamp", "pad"]),
)


@settings(max_examples=300)
@given(
    BOXES, st.integers(1, 40), st.integers(1, 30), RULES, st.integers(1, 30), st.sampled_from(["RGB", "L"])
)
def test_any_box_that_overlaps_a_photo_gives_a_crop_of_the_size(box, width, height, rule, size, mode):
    photo = noise(width, height, mode)
    if not meets(box, photo.size):
        with pytest.raises(ValueError, match="outside"):
            crop_face(photo, box, rule, size=size)
        return
    crop = crop_face(photo, box, rule, size=size)
    assert (crop.size, crop.mode) == ((size, size), mode)
    pixels, whole = np.asarray(crop), np.asarray(photo)
    assert whole.min() <= pixels.min() <= pixels.max() <= whole.max()
    x1, y1, x2, y2 = crop_region(box, rule, image_size=photo.size)
    if rule.shape == "square":
        assert x2 - x1 == pytest.approx(y2 - y1)
    if rule.border == "clamp":
        assert -1e-9 <= x1 < x2 <= width + 1e-9
        assert -1e-9 <= y1 < y2 <= height + 1e-9
    else:
        assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


def test_a_crop_at_whole_pixels_is_exact():
    photo = noise(40, 30)
    crop = crop_face(photo, (10, 5, 26, 21), CropRule(scale=1), size=16)
    np.testing.assert_array_equal(np.asarray(crop), np.asarray(photo)[5:21, 10:26])


def test_the_default_square_is_0_95_of_the_height_of_the_box():
    assert crop_region((100, 100, 180, 200), CropRule(), image_size=(400, 400)) == pytest.approx(
        (92.5, 102.5, 187.5, 197.5)
    )


def test_padding_repeats_the_outermost_pixels():
    photo = noise(8, 8)
    pixels = np.asarray(photo)
    crop = np.asarray(crop_face(photo, (-4, -4, 4, 4), CropRule(scale=1, border="pad"), size=8))
    np.testing.assert_array_equal(crop, np.pad(pixels[:4, :4], ((4, 0), (4, 0), (0, 0)), mode="edge"))


def test_clamping_shifts_the_square_inside():
    photo = noise(20, 12)
    crop = np.asarray(crop_face(photo, (-4, -4, 4, 4), CropRule(scale=1), size=8))
    np.testing.assert_array_equal(crop, np.asarray(photo)[:8, :8])
    whole = np.asarray(crop_face(photo, (-40, -40, 60, 60), CropRule(scale=1), size=12))
    np.testing.assert_array_equal(whole, np.asarray(photo)[:, 4:16])


def test_shrinking_is_antialiased():
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (64, 32)))
    crop = np.asarray(crop_face(stripes, (0, 0, 64, 64), CropRule(scale=1), size=8))
    assert abs(crop.astype(int) - 127).max() < 20


def test_the_box_shape_stretches_the_box_to_a_square():
    photo = noise(60, 50)
    crop = crop_face(photo, (10, 5, 30, 45), CropRule(shape="box"), size=80)
    expected = photo.resize((80, 80), Image.Resampling.BILINEAR, box=(10, 5, 30, 45))
    np.testing.assert_array_equal(np.asarray(crop), np.asarray(expected))


def test_a_box_is_scaled_about_its_centre_and_clamped_to_the_photo():
    rule = CropRule(1.5, shape="box")
    assert crop_region((20, 20, 40, 60), rule, image_size=(100, 100)) == (15, 10, 45, 70)
    assert crop_region((0, 20, 20, 100), rule, image_size=(100, 100)) == (0, 0, 25, 100)
    assert crop_region((0, 20, 20, 100), CropRule(1.5, shape="box", border="pad"), image_size=(100, 100)) == (
        -5,
        0,
        25,
        120,
    )


def test_an_aligned_rule_needs_landmarks():
    with pytest.raises(ValueError, match="use align_face"):
        crop_region((0, 0, 4, 4), CropRule(shape="aligned"), image_size=(8, 8))


@pytest.mark.parametrize(
    "rule",
    [{"scale": 0}, {"scale": math.inf}, {"reference": "depth"}, {"border": "reflect"}, {"shape": "round"}],
)
def test_an_invalid_rule_is_refused(rule):
    with pytest.raises(ValueError, match=str(next(iter(rule.values())))):
        CropRule(**rule)


def test_unknown_modes_sizes_and_filters_are_refused():
    photo = noise(8, 8)
    for image, options, message in (
        (photo.convert("RGBA"), {}, "load_image"),
        (photo, {"size": 0}, "at least one pixel"),
        (photo, {"interpolation": "area"}, "interpolation"),
    ):
        with pytest.raises(ValueError, match=message):
            crop_face(image, (0, 0, 4, 4), **options)


@pytest.mark.parametrize("border", ["clamp", "pad"])
@pytest.mark.parametrize(
    "box", [(-1e6, -1e6, 1e6, 1e6), (-1e6, 3, 5, 4), (3, 3, 3.001, 3.001), (39.9, 29.9, 1e6, 1e6)]
)
def test_huge_and_tiny_boxes_are_cut_without_a_visible_border(box, border):
    photo = Image.new("RGB", (40, 30), (9, 80, 200))
    crop = crop_face(photo, box, CropRule(3.0, border=border), size=24)
    assert crop.getcolors() == [(24 * 24, (9, 80, 200))]


@pytest.mark.parametrize("box", [(30, 20, 50, 40), (-10, 5, 60, 75), (-50, -50, 5, 5)])
def test_padding_agrees_with_a_padded_copy(box):
    x1, y1, x2, y2 = box
    padded = np.pad(np.asarray(noise(40, 30)), ((60, 60), (60, 60), (0, 0)), mode="edge")
    crop = crop_face(noise(40, 30), box, CropRule(1.0, border="pad"))
    np.testing.assert_array_equal(np.asarray(crop), padded[60 + y1 : 60 + y2, 60 + x1 : 60 + x2])


def test_a_ramp_is_resampled_at_subpixel_positions():
    # The mean of a linear ramp over a result pixel is its value at that pixel's centre.
    ramp = Image.fromarray(np.tile(np.arange(240, dtype=np.uint8), (240, 1)))
    crop = np.asarray(crop_face(ramp, (20.25, 30.5, 140.25, 150.5), CropRule(1.0), size=40))
    expected = 20.25 + 3 * (np.arange(40) + 0.5) - 0.5
    np.testing.assert_allclose(crop[20], expected, atol=0.51)


def test_a_size_of_two_numbers_is_height_and_width():
    assert crop_face(noise(40, 30), (5, 5, 25, 25), size=(12, 7)).size == (7, 12)
