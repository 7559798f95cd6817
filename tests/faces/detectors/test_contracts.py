"""The contract of all registered face detectors, and their agreement on real photos."""

import math
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from fer_attention.faces import DETECTORS, Face, FaceDetector, create_detector, load_image
from tests.support.forked import run_python

COLLINS = Face(box=(181, 62, 268, 172), score=1.0)


WEIGHTS = {"yunet": "yunet_2026may.onnx", "yolo": "yolov8_lite_t_face.onnx"}


FINDING = sorted(set(DETECTORS) - {"none"})


@pytest.fixture(scope="module")
def fresh(request):
    """A function that creates a detector by name and skips the test if its weights are missing."""

    def make(name):
        options = {}
        if name in WEIGHTS:
            options["weights"] = request.getfixturevalue("shared_dir") / "models" / WEIGHTS[name]
        return create_detector(name, device="cpu", **options)

    return make


@pytest.fixture(scope="module")
def build(fresh):
    """The same, with one detector of each name for all tests."""
    return cache(fresh)


def marked(names):
    return [pytest.param(name, marks=[pytest.mark.data] if name in WEIGHTS else []) for name in names]


@pytest.mark.parametrize("name", marked(DETECTORS))
def test_every_detector_implements_the_protocol(build, name, astronaut):
    detector = build(name)
    assert isinstance(detector, FaceDetector)
    assert detector.name == name
    assert detector.detect([]) == []
    for single in (Image.fromarray(astronaut), astronaut, torch.zeros(3, 9, 9), "photo.jpg"):
        with pytest.raises(TypeError, match="Wrap it"):
            detector.detect(single)


def of_many_sizes(astronaut, count):
    """Photos of six shapes, each with another part of the astronaut; every ninth has no face."""
    shapes = [(180, 190), (240, 300), (300, 170), (330, 360), (360, 240), (420, 420)]
    photos = []
    for number in range(count):
        part = astronaut[number % 23 : 300 - number % 17, 90 + number % 19 : 400]
        blank = number % 9 == 8
        photo = Image.fromarray(np.full_like(part, number % 250) if blank else part)
        photos.append(np.asarray(photo.resize(shapes[number % len(shapes)])))
    return photos


@pytest.mark.parametrize("name", marked(DETECTORS))
def test_threads_that_share_a_detector_find_the_same_faces(build, name, astronaut):
    detector, photos = build(name), of_many_sizes(astronaut, 36)
    expected = [detector.detect([photo])[0] for photo in photos]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda photo: detector.detect([photo])[0], photos)) == expected
    assert len({len(faces) for faces in expected}) == 1 + (detector.name != "none")


@pytest.mark.parametrize("name", marked(DETECTORS))
def test_a_pickled_detector_finds_the_same_faces(build, name, astronaut, tmp_path, monkeypatch):
    content = pickle.dumps(build(name))
    monkeypatch.chdir(tmp_path)  # paths of weights do not depend on the working folder
    copy = pickle.loads(content)  # noqa: S301
    assert copy.name == name
    assert copy.detect([astronaut]) == build(name).detect([astronaut])


@pytest.mark.data
@pytest.mark.slow
def test_spawned_processes_find_the_same_faces(build, astronaut):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for name in DETECTORS:
            found = pool.submit(build(name).detect, [astronaut]).result()
            assert found == build(name).detect([astronaut])


FORKS = """
import multiprocessing, sys
import numpy as np
import torch
from fer_attention import EmotionRecognizer
from fer_attention.faces import create_detector

torch.set_num_threads(2)  # the threads of the parent are gone in its children
photo = np.load(sys.argv[1])
for name, weights in zip(sys.argv[2::2], sys.argv[3::2]):
    detector = create_detector(name, device="cpu", **({"weights": weights} if weights else {}))
    recognizer = EmotionRecognizer.from_pretrained(detector=detector, device="cpu")
    expected = [face.face.box for face in recognizer.predict(photo)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map(recognizer.predict, [photo] * 4):
            np.testing.assert_allclose([face.face.box for face in found], expected, atol=1e-2)
    print(name)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", marked(DETECTORS))
@pytest.mark.slow
def test_forked_processes_find_the_same_faces(request, name, astronaut, tmp_path):
    np.save(tmp_path / "photo.npy", astronaut)
    weights = request.getfixturevalue("shared_dir") / "models" / WEIGHTS[name] if name in WEIGHTS else ""
    code, output, errors = run_python("-c", FORKS, tmp_path / "photo.npy", name, weights)
    assert (code, output) == (0, f"{name}\n"), errors


@pytest.mark.parametrize("name", marked(DETECTORS))
def test_the_default_type_of_torch_changes_nothing(build, fresh, name, astronaut):
    expected = build(name).detect([astronaut])
    torch.set_default_dtype(torch.float64)
    try:
        assert build(name).detect([astronaut]) == expected
        assert fresh(name).detect([astronaut]) == expected
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", marked(DETECTORS))
def test_every_kind_of_source_gives_the_same_faces(build, name, astronaut, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(astronaut).save(path)
    channels_first = torch.from_numpy(astronaut.copy()).permute(2, 0, 1)
    found = build(name).detect([path, str(path), Image.open(path), astronaut, channels_first])
    assert [faces == found[0] for faces in found] == [True] * 5
    [face] = found[0]
    assert face.iou(COLLINS) > (0.02 if name == "none" else 0.5)


@pytest.mark.parametrize("name", marked(DETECTORS))
def test_several_photos_give_the_same_faces_as_each_alone(build, name, astronaut):
    picture = Image.fromarray(astronaut)
    photos = [
        picture,
        picture.resize((300, 200)),
        np.zeros((50, 70, 3), np.uint8),
        picture.convert("L"),
        picture,
    ]
    detector = build(name)
    together = detector.detect(photos)
    assert len(together) == len(photos)
    for photo, faces in zip(photos, together, strict=True):
        [alone] = detector.detect([photo])
        assert len(faces) == len(alone)
        for one, other in zip(faces, alone, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=0.01)
            assert one.score == pytest.approx(other.score, abs=1e-4)
            np.testing.assert_allclose(one.landmarks or 0, other.landmarks or 0, atol=0.01)


@pytest.mark.parametrize("name", marked(DETECTORS))
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (11, 300), (300, 11), (1, 4000)])
def test_noise_of_any_size_has_no_face(build, name, size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    [faces] = build(name).detect([pixels])
    assert len(faces) == (name == "none")


@pytest.mark.parametrize("name", marked(FINDING))
def test_landmarks_are_at_eyes_nose_and_mouth(build, name, astronaut):
    [[face]] = build(name).detect([astronaut])
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert math.dist(left_eye, (201, 103)) < 8  # measured in the photo
    assert math.dist(right_eye, (246, 103)) < 8


@pytest.mark.data
@pytest.mark.parametrize("photo", ["multiface", "single_large", "single_medium"])
def test_detectors_agree_on_real_photos(build, photo, shared_dir):
    picture = load_image(shared_dir / "media" / f"{photo}.jpg")
    found = {name: build(name).detect([picture])[0] for name in FINDING}
    expected = 6 if photo == "multiface" else 1
    assert {name: len(faces) for name, faces in found.items()} == dict.fromkeys(FINDING, expected)
    for faces in found.values():
        for others in found.values():
            for face in faces:
                assert max(face.iou(other) for other in others) > 0.5


@pytest.mark.data
@pytest.mark.parametrize("photo", ["multiface", "single_large", "single_medium"])
def test_common_boxes_of_all_detectors_overlap(build, photo, shared_dir):
    picture = load_image(shared_dir / "media" / f"{photo}.jpg")
    reference = build("mtcnn").detect([picture])[0]
    for name in WEIGHTS:
        detector = build(name)
        for face in detector.detect([picture])[0]:
            common = Face(face.common_box, 1)
            assert max(common.iou(other) for other in reference) > 0.65
