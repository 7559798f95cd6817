"""A photo's answer: the recogniser's own, with pictures and times."""

import numpy as np
import pytest
from PIL import Image

from fer_attention.demo import Limits, analyse
from fer_attention.faces import Face, cut_input
from fer_attention.models.bundled import DEFAULT
from fer_attention.recognizer import EmotionRecognizer
from tests.support.demo_parts import FACE, small_choices
from tests.support.exported_models import FixedDetector


@pytest.fixture(scope="module")
def photo(astronaut):
    return Image.fromarray(np.asarray(astronaut))


@pytest.fixture(scope="module")
def recognizer():
    return small_choices().recognizer(DEFAULT, "fixed")


class CountingDetector(FixedDetector):
    calls = 0

    def detect(self, images):
        self.calls += 1
        return super().detect(images)


def with_faces(recognizer, count):
    faces = [Face((10 + 5 * n, 10, 40 + 5 * n, 40 - n / 10), 0.9) for n in range(count)]
    return EmotionRecognizer(recognizer.classifier.model, FixedDetector(faces), device="cpu")


def test_the_answer_equals_that_of_the_recogniser(recognizer, photo):
    analysis = analyse(recognizer, photo)
    assert analysis.found == 1
    (view,) = analysis.faces
    assert view.prediction == recognizer.predict(photo)[0]
    assert (view.number, view.prediction.emotion, view.seen) == (1, "happy", None)


def test_each_face_has_its_picture_and_the_photo_is_marked(recognizer, photo):
    before = np.asarray(photo).copy()
    analysis = analyse(recognizer, photo)
    assert analysis.faces[0].crop.size == (192, 192)
    x1, y1, _, _ = map(int, FACE.box)
    marked = np.asarray(analysis.picture)
    assert (marked[y1, x1 + 20] != before[y1, x1 + 20]).any()
    assert (np.asarray(photo) == before).all()


def test_the_crop_is_what_the_network_is_given(recognizer, photo):
    rule = recognizer.preprocessing
    given = cut_input(photo, FACE, rule)[0].astype(float)
    analysis = analyse(recognizer, photo)
    assert analysis.network_input == "48×48 pixels, grey"
    np.testing.assert_array_equal(np.asarray(analysis.faces[0].crop)[::4, ::4], given)


def test_a_large_photo_is_shown_smaller(recognizer, photo):
    assert analyse(recognizer, photo.resize((3000, 1500))).picture.size == (1280, 640)


def test_times_of_the_steps_are_separate(recognizer, photo):
    import time

    class Slow(FixedDetector):
        def detect(self, images):
            time.sleep(0.05)
            return super().detect(images)

    slow = EmotionRecognizer(recognizer.classifier.model, Slow([FACE]), device="cpu")
    start = time.perf_counter()
    seconds = analyse(slow, photo).seconds
    assert seconds.detection >= 0.05
    assert seconds.recognition > 0
    assert seconds.detection + seconds.recognition <= time.perf_counter() - start
    assert seconds.maps is None


def test_maps_come_on_request_and_faces_are_searched_once(recognizer, photo):
    detector = CountingDetector([FACE])
    analysis = analyse(
        EmotionRecognizer(recognizer.classifier.model, detector, device="cpu"), photo, maps=True
    )
    view = analysis.faces[0]
    assert view.seen.size == view.crop.size
    assert np.asarray(view.seen).tolist() != np.asarray(view.crop).tolist()
    assert analysis.seconds.maps > 0
    assert detector.calls == 1


def test_the_largest_faces_are_shown_and_all_are_counted(recognizer, photo):
    analysis = analyse(with_faces(recognizer, 5), photo, limits=Limits(faces=2), maps=True)
    assert (analysis.found, len(analysis.faces)) == (5, 2)
    assert [view.number for view in analysis.faces] == [1, 2]
    assert all(view.seen is not None for view in analysis.faces)


def test_no_face_is_an_answer_without_faces(recognizer, photo):
    analysis = analyse(with_faces(recognizer, 0), photo, maps=True)
    assert (analysis.found, analysis.faces, analysis.note) == (0, (), "")
    assert analysis.picture.size == photo.size


class UniformClassifier:
    """A classifier that torch does not run."""

    def __init__(self, like):
        self.labels, self.preprocessing = like.labels, like.preprocessing

    def probabilities(self, crops, *, batch_size=64):
        return np.full((len(crops), len(self.labels)), 1 / len(self.labels))


def test_an_onnx_model_answers_and_notes_that_it_has_no_maps(recognizer, photo):
    exported = EmotionRecognizer(UniformClassifier(recognizer), FixedDetector([FACE]))
    analysis = analyse(exported, photo, maps=True)
    assert analysis.faces[0].seen is None
    assert "weights file" in analysis.note
    assert analyse(exported, photo).note == ""


def test_the_model_is_left_as_it_was(recognizer, photo):
    before = [(p.requires_grad, p.grad) for p in recognizer.classifier.model.parameters()]
    analyse(recognizer, photo, maps=True)
    assert [(p.requires_grad, p.grad) for p in recognizer.classifier.model.parameters()] == before
    assert not recognizer.classifier.model.training
