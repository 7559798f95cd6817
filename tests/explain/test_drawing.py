"""Overlays of heat maps."""

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from fer_attention.explain import overlay


def test_an_overlay_colours_hot_regions_and_leaves_cold_ones():
    grey = np.full((4, 6), 100, np.uint8)
    heat = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    colours = np.asarray(colormaps["YlOrRd"](heat))[..., :3] * 255
    opacity = 0.5 * heat[..., None]
    seen = np.asarray(overlay(grey, heat, alpha=0.5)).astype(float)
    np.testing.assert_allclose(seen, (1 - opacity) * 100 + opacity * colours, atol=0.51)
    assert seen[0, 0].tolist() == [100, 100, 100]
    red, green, blue = seen[-1, -1]
    assert red > max(green, blue)
    assert overlay(Image.new("RGB", (60, 40)), heat).size == (60, 40)
    np.testing.assert_array_equal(np.asarray(overlay(grey, heat, alpha=0.0)), np.stack([grey] * 3, -1))


@pytest.mark.parametrize(
    ("heat", "alpha", "message"),
    [
        (np.full((2, 2), 1.5), 0.5, "must be in"),
        (np.full((2, 2), np.nan), 0.5, "must be in"),
        (np.zeros((2, 2, 1)), 0.5, "must be a map"),
        (np.zeros((0, 2)), 0.5, "must be a map"),
        (np.zeros((2, 2)), 1.5, "alpha must be in"),
    ],
)
def test_invalid_overlays_are_rejected(heat, alpha, message):
    with pytest.raises(ValueError, match=message):
        overlay(np.zeros((4, 4), np.uint8), heat, alpha=alpha)
