"""The detector `none`, which takes the whole image as the face."""

import numpy as np
from PIL import Image

from fer_attention.faces import CropRule, create_detector, cut_face


def test_the_default_crop_of_the_whole_image_is_the_image(astronaut):
    detector = create_detector("none")
    photo = Image.fromarray(astronaut[:48, :48])
    [[face]] = detector.detect([photo])
    assert (face.box, face.score, face.landmarks) == ((0, 0, 48, 48), 1, None)
    crop, _ = cut_face(photo, face, CropRule(), size=48)
    np.testing.assert_array_equal(np.asarray(crop), astronaut[:48, :48])
