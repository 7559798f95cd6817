"""Photos with their faces marked."""

import numpy as np
import pytest
from PIL import Image

from fer_attention.faces import Face, annotate

FIVE = ((1.0, 1.0), (3.0, 1.0), (2.0, 2.0), (1.0, 3.0), (3.0, 3.0))


def test_annotations_are_drawn_on_a_copy_of_the_same_size():
    photo = Image.new("RGB", (60, 50), "grey")
    before = np.asarray(photo).copy()
    faces = [Face((-5, -5, 30, 40), 0.9, FIVE), Face((40, 30, 80, 70), 0.9)]
    picture = annotate(photo, faces, ["surprise 100%", ""])
    assert picture.size == photo.size
    assert (np.asarray(picture) != before).any()
    np.testing.assert_array_equal(np.asarray(photo), before)
    with pytest.raises(ValueError, match="one caption per face"):
        annotate(photo, faces, ["happy"])


@pytest.mark.parametrize(
    "box", [(100, 2, 200, 120), (-50, -50, 40, 40), (280, 150, 330, 230), (-9, -9, 320, 220)]
)
def test_a_caption_is_always_inside_the_photo(box):
    bare, captioned = (
        np.asarray(annotate(Image.new("RGB", (300, 200), "grey"), [Face(box, 0.9)], captions))
        for captions in (None, ["surprise 97 %"])
    )
    rows, columns = np.nonzero((bare != captioned).any(axis=2))
    assert np.ptp(rows) >= 8
    assert np.ptp(columns) >= 45


@pytest.mark.parametrize("size", [(1, 1), (20, 8)])
def test_tiny_pictures_can_be_annotated(size):
    faces = [Face((-5, -5, size[0] / 2, size[1] / 2), 0.9, FIVE)]
    assert annotate(Image.new("RGB", size), faces, ["a caption far too long " * 5]).size == size
