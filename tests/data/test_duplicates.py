import tracemalloc

import numpy as np

from fer_attention.data.duplicates import exact_groups, spreads


def test_an_image_of_one_colour_is_blank():
    red = np.zeros((2, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    red[1, :4] = 0
    assert (spreads(red) < 2).tolist() == [True, False]


def test_searching_for_copies_holds_no_pixels_in_memory():
    images = np.random.default_rng(0).integers(0, 256, (200, 100, 100), dtype=np.uint8)
    tracemalloc.start()
    try:
        assert exact_groups(images) == []
        assert tracemalloc.get_traced_memory()[1] < images.nbytes / 10
    finally:
        tracemalloc.stop()
