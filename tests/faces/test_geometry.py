"""Maps between the pixels of a crop and those of its photo."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer_attention.faces import CropTransform
from fer_attention.faces.geometry import TURNS, turned_back

COORDINATES = st.floats(-500, 500, width=32)


@given(st.lists(st.tuples(COORDINATES, COORDINATES), min_size=4, max_size=4), st.integers(1, 200))
def test_points_map_to_the_photo_and_back(points, size):
    for transform in (
        CropTransform.of_region((12.5, -30, 212.5, 90), size=(size, 80)),
        CropTransform(((1.2, -0.5, 30), (0.5, 1.2, -7.5))),
    ):
        np.testing.assert_allclose(transform.to_crop(transform.to_photo(points)), points, atol=1e-6)
        np.testing.assert_allclose(transform.to_photo(transform.to_crop(points)), points, atol=1e-6)


@pytest.mark.parametrize("turn", TURNS)
def test_pixels_of_a_picture_turned_back_are_located_in_the_picture(turn):
    picture = Image.fromarray(np.arange(6 * 9, dtype=np.uint8).reshape(6, 9))
    upright = np.asarray(turned_back(picture, turn))
    to_picture = CropTransform.of_turn(turn, picture.size)
    for (y, x), value in np.ndenumerate(upright):
        [[column, row]] = to_picture.to_photo([(x + 0.5, y + 0.5)])
        assert np.asarray(picture)[int(row), int(column)] == value


def test_maps_are_composed_in_their_order():
    first, second = CropTransform(((1, -0.5, 30), (0.5, 1, -7))), CropTransform(((0, 2, 5), (-1, 0, 8)))
    points = [(0, 0), (3, -4)]
    expected = second.to_photo(first.to_photo(points))
    np.testing.assert_allclose(second.after(first).to_photo(points), expected)


@pytest.mark.parametrize("matrix", [((1, 0, 0), (2, 0, 0)), ((1, 0, math.nan), (0, 1, 0)), ((1, 0), (0, 1))])
def test_an_invalid_transform_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match="2x3 finite numbers"):
        CropTransform(matrix)
