"""Faces in photos that lie on their side or stand on their head."""

import pickle

import numpy as np
import pytest
from PIL import Image

from fer_attention import EmotionRecognizer
from fer_attention.faces import CropRule, Face, FaceCropper, RotatedDetector, create_detector
from fer_attention.faces.folders.options import FolderOptions
from fer_attention.faces.geometry import TURNS, CropTransform, turned_back
from tests.support.exported_models import FixedDetector


def turned(picture, turn):
    """Turn the content of a picture clockwise."""
    return turned_back(picture, (360 - turn) % 360)


@pytest.fixture(scope="module")
def detector():
    return RotatedDetector(create_detector("mtcnn", device="cpu"))


@pytest.fixture
def photo(astronaut):
    return Image.fromarray(astronaut[:, :400])


@pytest.mark.parametrize("turn", TURNS)
def test_a_face_is_found_in_every_rotation_with_its_turn(detector, photo, turn):
    [[upright]] = detector.detector.detect([photo])
    rotated = turned(photo, turn)
    [[face]] = detector.detect([rotated])
    assert face.turn == turn
    assert face.score == pytest.approx(upright.score, abs=1e-4)
    back = CropTransform.of_turn(turn, rotated.size).to_crop
    np.testing.assert_allclose(back(face.landmarks), upright.landmarks, atol=0.1)
    corners = back((face.box[:2], face.box[2:]))
    np.testing.assert_allclose([*corners.min(axis=0), *corners.max(axis=0)], upright.box, atol=0.1)


@pytest.mark.parametrize("turn", TURNS)
def test_crops_of_turned_faces_are_upright(detector, photo, turn):
    photos = photo, turned(photo, turn)
    found = [FixedDetector(detector.detect([one])[0]) for one in photos]
    for shape in ("square", "box", "aligned"):
        rule = CropRule(shape=shape)
        [[[expected]], [[cut]]] = [
            FaceCropper(faces, rule=rule, size=80).crop([one])
            for faces, one in zip(found, photos, strict=True)
        ]
        difference = np.abs(np.asarray(cut.image).astype(int) - np.asarray(expected.image))
        assert difference.mean() < 2
        assert cut.quality.roll == pytest.approx(expected.quality.roll, abs=0.5)
        assert cut.quality.sharpness == pytest.approx(expected.quality.sharpness, rel=0.15)


@pytest.mark.parametrize("turn", TURNS)
def test_the_expression_of_a_turned_face_is_recognised(detector, photo, turn):
    recognizer = EmotionRecognizer.from_pretrained(detector=detector, device="cpu")
    [expected], [found] = recognizer.predict(photo), recognizer.predict(turned(photo, turn))
    assert found.probability == pytest.approx(expected.probability, abs=0.02)
    assert found.emotion == "happy"
    assert found.to_dict().get("turn", 0) == turn


def test_faces_of_several_rotations_in_one_photo_are_all_found(detector, photo):
    both = Image.new("RGB", (950, 520), "grey")
    both.paste(photo, (0, 0))
    both.paste(turned(photo, 90), (420, 60))
    [faces] = detector.detect([both])
    assert sorted(face.turn for face in faces) == [0, 90]


class Fixed:
    """Finds fixed faces in photos of one size, and none in others."""

    name = "fixed"

    def __init__(self, *faces):
        self.faces = faces

    def detect(self, images):
        return [list(self.faces) if image.size == (100, 60) else [] for image in images]


def test_faces_that_overlap_within_one_rotation_are_kept():
    near = Face((10, 10, 40, 40), 0.9), Face((15, 10, 45, 40), 0.8)
    [faces] = RotatedDetector(Fixed(*near)).detect([Image.new("RGB", (100, 60))])
    assert {face for face in faces if not face.turn} == set(near)


def test_the_best_find_of_a_face_is_kept():
    centred = Face((40, 20, 60, 40), 0.9, common_box=(38, 22, 58, 42))
    [[face]] = RotatedDetector(Fixed(centred)).detect([Image.new("RGB", (100, 60))])
    assert face == centred  # of equal scores, that of the photo as it is
    [[face]] = RotatedDetector(Fixed(centred)).detect([Image.new("RGB", (60, 100))])
    assert face.turn == 90
    assert face.box == (20, 40, 40, 60)
    assert face.common_box == (18, 38, 38, 58)


def test_a_pickled_detector_finds_the_same_faces(detector, photo):
    copy = pickle.loads(pickle.dumps(detector))  # noqa: S301
    assert copy.detect([photo]) == detector.detect([photo])


def test_rotations_are_refused_where_whole_images_are_faces():
    for refused in (
        lambda: RotatedDetector(create_detector("none")),
        lambda: FolderOptions("none", rotations=True),
    ):
        with pytest.raises(ValueError, match="Rotations need a detector that searches photos"):
            refused()
