"""Maps between the pixels of a crop and those of its photo."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.faces import CropTransform

COORDINATES = st.floats(-500, 500, width=32)


@given(st.lists(st.tuples(COORDINATES, COORDINATES), min_size=4, max_size=4), st.integers(1, 200))
def test_points_map_to_the_photo_and_back(points, size):
    for transform in (
        CropTransform.of_region((12.5, -30, 212.5, 90), size=(size, 80)),
        CropTransform(((1.2, -0.5, 30), (0.5, 1.2, -7.5))),
    ):
        np.testing.assert_allclose(transform.to_crop(transform.to_photo(points)), points, atol=1e-6)
        np.testing.assert_allclose(transform.to_photo(transform.to_crop(points)), points, atol=1e-6)


@pytest.mark.parametrize("matrix", [((1, 0, 0), (2, 0, 0)), ((1, 0, math.nan), (0, 1, 0)), ((1, 0), (0, 1))])
def test_an_invalid_transform_matrix_is_refused(matrix):
    with pytest.raises(ValueError, match="2x3 finite numbers"):
        CropTransform(matrix)
