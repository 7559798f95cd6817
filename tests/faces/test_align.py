"""Faces rotated upright by their landmarks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import SimilarityTransform, warp

from fer_attention.faces import (
    CropRule,
    align_face,
    alignment,
    create_detector,
    crop_face,
)
from fer_attention.faces.align import TEMPLATE

FACE = ((300.0, 200.0), (380.0, 230.0), (330.0, 260.0), (285.0, 285.0), (350.0, 310.0))


STEADY = [0, 1, 3, 4]


COORDINATES = st.floats(-500, 500, width=32)


def upright(size, *, left=0.0, top=0.0, side=None):
    """Return the landmarks of the template in a square of the photo."""
    return tuple((left + x * (side or size), top + y * (side or size)) for x, y in TEMPLATE)


@given(st.floats(0.1, 10), st.floats(-math.pi, math.pi), st.tuples(COORDINATES, COORDINATES))
def test_alignment_recovers_the_similarity_that_moved_the_landmarks(scale, angle, shift):
    crop = 80 * np.array(TEMPLATE)
    rotation = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    found = alignment(crop @ rotation.T + shift, size=80)
    np.testing.assert_allclose(found.matrix, np.column_stack([rotation, shift]), atol=1e-5)
    assert found.scale == pytest.approx(scale, rel=1e-5)


def test_alignment_is_the_least_squares_solution():
    rows, wanted = [], []
    for (x, y), (u, v) in zip(80 * np.array(TEMPLATE)[STEADY], np.array(FACE)[STEADY], strict=True):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        wanted += [u, v]
    a, b, c, f = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    np.testing.assert_allclose(alignment(FACE, size=80).matrix, ((a, -b, c), (b, a, f)), atol=1e-9)


@pytest.mark.parametrize(
    "points", [((1, 1), (1, 1), (0, 0), (1, 1), (1, 1)), FACE[:4]], ids=["one place", "four"]
)
def test_alignment_refuses_coinciding_or_missing_landmarks(points):
    with pytest.raises(ValueError, match=r"all coincide|five landmarks"):
        alignment(points, size=80)


def test_an_upright_face_is_cut_like_the_square_around_it(astronaut):
    photo = Image.fromarray(astronaut)
    for side in (80, 110, 200, 300):
        aligned = np.asarray(align_face(photo, upright(80, left=150.25, top=40.5, side=side), size=80))
        square = (150.25, 40.5, 150.25 + side, 40.5 + side)
        cut = np.asarray(crop_face(photo, square, CropRule(shape="box"), size=80))
        difference = np.abs(aligned.astype(int) - cut)
        assert difference.mean() < 1.5, side
        assert np.percentile(difference, 99) < 14, side


def test_a_rotated_face_is_sampled_as_in_scikit_image(astronaut):
    photo = astronaut[:, :, 0].copy()
    face = tuple((x - 100, y - 100) for x, y in FACE)
    size = round(alignment(face, size=1).scale)  # one pixel of the crop for one of the photo: no shrinking
    transform = SimilarityTransform(np.vstack([alignment(face, size=size).matrix, (0, 0, 1)]))
    half = SimilarityTransform(translation=(0.5, 0.5))  # its pixels have their centres at whole numbers
    expected = warp(photo, half + transform + half.inverse, output_shape=(size, size), order=1, mode="edge")
    got = np.asarray(align_face(Image.fromarray(photo), face, size=size)).astype(float)
    assert np.abs(got - expected * 255).mean() < 2


@pytest.mark.parametrize("angle", [-60, -15, 20, 90, 170])
def test_a_rotated_photo_gives_the_same_aligned_face(astronaut, angle):
    photo = Image.fromarray(astronaut)
    [[face]] = create_detector("mtcnn", device="cpu").detect([photo])
    turned = photo.rotate(angle, Image.Resampling.BICUBIC)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    landmarks = [
        (256 + (x - 256) * cos + (y - 256) * sin, 256 - (x - 256) * sin + (y - 256) * cos)
        for x, y in face.landmarks
    ]
    straight = np.asarray(align_face(photo, face.landmarks, size=64)).astype(int)
    assert np.abs(np.asarray(align_face(turned, landmarks, size=64)) - straight).mean() < 3


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=5, max_size=5),
    st.integers(1, 24),
    st.floats(0.2, 4),
    st.sampled_from(["RGB", "L"]),
)
def test_any_landmarks_give_a_crop_or_a_clear_error(width, height, landmarks, size, scale, mode):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    photo = Image.fromarray(pixels).convert(mode)
    try:
        crop = align_face(photo, landmarks, size=size, scale=scale)
    except ValueError as error:
        assert "outside" in str(error) or "coincide" in str(error)  # noqa: PT017
        return
    assert (crop.size, crop.mode) == ((size, size), mode)
    whole = np.asarray(photo)
    assert whole.min() <= np.asarray(crop).min() <= np.asarray(crop).max() <= whole.max()


def test_huge_and_tiny_faces_are_cut_without_a_visible_border():
    photo = Image.new("RGB", (40, 30), (9, 80, 200))
    for side in (1e-3, 1.0, 1e3, 1e6):
        landmarks = upright(24, left=20 - side / 2, top=15 - side / 2, side=side)
        assert align_face(photo, landmarks, size=24).getcolors() == [(24 * 24, (9, 80, 200))]


def test_shrinking_is_antialiased():
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (640, 320)))
    for side in (160, 640):
        crop = np.asarray(align_face(stripes, upright(16, side=side), size=16)).astype(int)
        assert abs(crop - 127).max() < 20


def test_the_transform_of_an_aligned_crop_locates_its_pixels():
    ys, xs = np.mgrid[:250, :250]
    photo = Image.fromarray(np.stack([xs, ys, xs], axis=-1).astype(np.uint8))
    face = tuple((x - 200, y - 130) for x, y in FACE)
    crop = np.asarray(align_face(photo, face, size=50)).astype(float)
    rows, columns = np.mgrid[:50, :50]
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5
    expected = np.clip(alignment(face, size=50).to_photo(centres) - 0.5, 0, 249)
    np.testing.assert_allclose(expected, crop[:, :, :2].reshape(-1, 2), atol=1.01)


def test_a_larger_scale_shows_more_around_the_face():
    small, large = (alignment(FACE, size=80, scale=scale) for scale in (1.0, 1.5))
    assert large.scale == pytest.approx(1.5 * small.scale)
    np.testing.assert_allclose(large.to_photo([(40, 40)]), small.to_photo([(40, 40)]), atol=1e-9)
