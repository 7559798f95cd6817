"""Quality of faces, and filters on it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from fer_attention.faces import Face, FaceQuality, QualityFilter, create_detector, face_quality
from fer_attention.faces.quality import roll, yaw

SOLID = np.array([(-1, -1, 0), (1, -1, 0), (0, 0, 0.9), (-0.7, 1, 0), (0.7, 1, 0)])  # nose towards the camera


def seen(degrees, *, tilt=0.0):
    """Project the five landmarks of a head rotated by some degrees, seen from far away."""
    a, b = math.radians(degrees), math.radians(tilt)
    x, y = SOLID[:, 0] * math.cos(a) + SOLID[:, 2] * math.sin(a), SOLID[:, 1]
    return tuple(zip(x * math.cos(b) - y * math.sin(b), x * math.sin(b) + y * math.cos(b), strict=True))


@given(st.floats(-80, 80), st.floats(-80, 80), st.floats(0.1, 1000))
def test_yaw_and_roll_of_a_solid_head_are_recovered(degrees, tilt, scale):
    points = [(x * scale, y * scale) for x, y in seen(degrees, tilt=tilt)]
    assert yaw(points) == pytest.approx(degrees, abs=1e-6)
    assert roll(points) == pytest.approx(tilt, abs=1e-6)


def test_a_profile_with_coinciding_eyes_has_a_yaw_of_ninety_degrees():
    assert yaw(((0, 0), (0, 0), (5, 1), (0, 2), (0, 2))) == 90
    assert yaw(((0, 0), (0, 0), (-5, 1), (0, 2), (0, 2))) == -90


@pytest.fixture(scope="module")
def portrait(astronaut):
    photo = Image.fromarray(astronaut)
    [[face]] = create_detector("mtcnn", device="cpu").detect([photo])
    return photo, face


def test_a_mirrored_face_has_the_opposite_yaw_and_roll(portrait):
    photo, face = portrait
    quality = face_quality(photo, face)
    assert quality.size == min(face.width, face.height)
    assert abs(quality.yaw) < 30
    assert abs(quality.roll) < 15
    order = [1, 0, 2, 4, 3]
    mirrored = Face(
        face.box, face.score, tuple((512 - face.landmarks[i][0], face.landmarks[i][1]) for i in order)
    )
    assert yaw(mirrored.landmarks) == pytest.approx(-quality.yaw)
    assert roll(mirrored.landmarks) == pytest.approx(-quality.roll)


def test_sharpness_falls_with_blur_and_enlarging_but_not_with_light(portrait):
    photo, face = portrait
    sharp = face_quality(photo, face).sharpness
    blurred = [face_quality(photo.filter(ImageFilter.GaussianBlur(r)), face).sharpness for r in (1, 2, 4)]
    assert sharp > 1.5 * blurred[0] > 1.5 * blurred[1] > 1.5 * blurred[2]
    coarse = photo.resize((64, 64)).resize((512, 512))
    assert face_quality(coarse, face).sharpness < sharp / 3
    dark = photo.point(lambda value: value // 2)
    assert face_quality(dark, face).sharpness == pytest.approx(sharp, rel=0.05)


def test_brightness_and_contrast_are_those_of_the_box():
    pixels = np.zeros((50, 60), np.uint8)
    pixels[10:30, 20:40] = np.random.default_rng(0).integers(100, 200, (20, 20))
    quality = face_quality(Image.fromarray(pixels), Face((20, 10, 40, 30), 1))
    assert quality.brightness == pytest.approx(pixels[10:30, 20:40].mean())
    assert quality.contrast == pytest.approx(pixels[10:30, 20:40].std())
    assert quality.yaw is quality.roll is None


@given(
    st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.01, 60), st.floats(0.01, 60)),
    st.integers(1, 30),
    st.integers(1, 30),
    st.sampled_from(["RGB", "L"]),
)
def test_any_face_that_overlaps_the_photo_has_finite_measures(box, width, height, mode):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    face = Face((box[0], box[1], box[0] + box[2], box[1] + box[3]), 1)
    try:
        quality = face_quality(Image.fromarray(pixels).convert(mode), face)
    except ValueError as error:
        assert "outside" in str(error)  # noqa: PT017
        return
    assert all(map(math.isfinite, (quality.size, quality.brightness, quality.contrast, quality.sharpness)))
    assert 0 <= quality.brightness <= 255
    assert quality.sharpness >= 0


GOOD = FaceQuality(size=80, brightness=120, contrast=40, sharpness=0.2, yaw=-25, roll=5)


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({}, None),
        ({"min_size": 80, "max_yaw": 25, "min_brightness": 120, "max_brightness": 120}, None),
        ({"min_size": 81}, "size 80 is below 81"),
        ({"min_sharpness": 0.3}, "sharpness 0.2 is below 0.3"),
        ({"min_brightness": 130}, "brightness 120 is below 130"),
        ({"max_brightness": 110}, "brightness 120 is beyond 110"),
        ({"max_yaw": 20}, "yaw -25 is beyond 20"),
        ({"max_roll": 4}, "roll 5 is beyond 4"),
    ],
)
def test_a_filter_gives_the_reason_why_a_face_fails(bounds, reason):
    assert QualityFilter(**bounds).reason(GOOD) == reason


def test_a_face_without_landmarks_fails_filters_that_need_them():
    bare = FaceQuality(80, 120, 40, 0.2, None, None)
    assert QualityFilter(max_yaw=30).reason(bare) == "yaw is unknown without landmarks"
    assert QualityFilter(min_size=30).reason(bare) is None


@pytest.mark.parametrize("bounds", [{"min_size": -1}, {"max_yaw": math.nan}])
def test_invalid_bounds_are_refused(bounds):
    with pytest.raises(ValueError, match="at least 0"):
        QualityFilter(**bounds)


def test_bounds_that_no_face_passes_are_refused():
    with pytest.raises(ValueError, match="min_brightness=20 is above max_brightness=10"):
        QualityFilter(min_brightness=20, max_brightness=10)
