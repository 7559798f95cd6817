"""Faces selected in and cut out of whole photos."""

import numpy as np
import pytest
from PIL import Image

from fer_attention.data import load_jaffe
from fer_attention.faces import (
    CropRule,
    CropTransform,
    Face,
    FaceCropper,
    ImageError,
    create_detector,
    cut_face,
)
from fer_attention.faces.geometry import TURNS, turned_back
from tests.support.datasets import save


@pytest.fixture(scope="module")
def cropper():
    return FaceCropper(rule=CropRule(scale=1.2))


def test_the_crop_is_the_square_of_the_largest_face(cropper, astronaut):
    photo = Image.fromarray(astronaut)
    [[face]] = create_detector("mtcnn", device="cpu").detect([photo])
    crop = cropper(photo)
    assert crop.size == (round(1.2 * face.height),) * 2
    x, y = (round(centre) for centre in face.centre)
    centre = np.asarray(crop)[crop.height // 2, crop.width // 2].astype(int)
    assert np.abs(centre - astronaut[y, x]).max() < 30


def test_readers_crop_with_it_and_list_photos_without_a_face(cropper, astronaut, tmp_path):
    save(tmp_path / "KA.HA1.1.png", astronaut)
    save(tmp_path / "KA.HA2.2.png", np.zeros((100, 100), np.uint8))
    faces = load_jaffe(tmp_path, crop=cropper, on_error="skip")
    expected = cropper(Image.fromarray(astronaut)).convert("L").resize((48, 48), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(faces.images, [np.asarray(expected)])
    assert faces.skipped == (("KA.HA2.2.png", "mtcnn found no face in the 100×100 photo."),)


class Everything:
    name = "everything"

    def detect(self, images):
        return [[Face((0, 0, 8, 10), 1.0), Face((5, 5, 7, 7), 1.0)] for _ in images]


def test_the_detector_is_passed_by_name_or_as_an_object():
    crop = FaceCropper(Everything(), rule=CropRule(scale=0.5))(Image.new("L", (20, 20)))
    assert crop.size == (5, 5)
    with pytest.raises(ValueError, match="Unknown face detector 'mtcn'"):
        FaceCropper("mtcn")


def test_a_photo_without_a_face_is_an_image_error(cropper):
    with pytest.raises(ImageError, match="found no face in the 64×48 photo"):
        cropper(Image.new("RGB", (64, 48)))


@pytest.mark.parametrize("shape", ["square", "box"])
@pytest.mark.parametrize("border", ["clamp", "pad"])
@pytest.mark.parametrize("size", [None, 40, (20, 60)])
@pytest.mark.parametrize("turn", TURNS)
def test_the_transform_of_a_crop_locates_its_pixels_in_the_photo(shape, border, size, turn):
    # The picture's two channels are its own coordinates, so that a crop shows where it was taken.
    ys, xs = np.mgrid[:200, :200]
    photo = Image.fromarray(np.stack([xs, ys, xs], axis=-1).astype(np.uint8))
    rule, box = CropRule(shape=shape, border=border), (40.5, 30, 121, 150)
    picture, transform = cut_face(photo, Face(box, 1, turn=turn), rule, size=size)
    crop = np.asarray(picture).astype(float)
    rows, columns = np.mgrid[: crop.shape[0], : crop.shape[1]]
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5
    np.testing.assert_allclose(transform.to_photo(centres) - 0.5, crop[:, :, :2].reshape(-1, 2), atol=0.51)


@pytest.mark.parametrize(
    "rule", [CropRule(), CropRule(reference="width", border="pad"), CropRule(shape="box")]
)
@pytest.mark.parametrize("size", [None, 40, (20, 60)])
@pytest.mark.parametrize("turn", TURNS)
def test_the_crop_of_a_turned_face_is_that_of_the_upright_photo(astronaut, rule, size, turn):
    upright, box = Image.fromarray(astronaut[:, :400]), (181, 62, 268, 172)
    expected, _ = cut_face(upright, Face(box, 1), rule, size=size)
    photo = turned_back(upright, (360 - turn) % 360)  # turned clockwise
    points = CropTransform.of_turn(turn, photo.size).to_photo((box[:2], box[2:]))
    face = Face((*points.min(axis=0), *points.max(axis=0)), 1, turn=turn)
    crop, _ = cut_face(photo, face, rule, size=size)
    assert crop.size == expected.size
    assert np.abs(np.asarray(crop).astype(int) - np.asarray(expected)).max() <= 3  # the resize rounds twice
