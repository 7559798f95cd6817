"""What every registered face detector keeps, and that they agree on real photos."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from fer_attention.faces import DETECTORS, BoxCalibration, Face, FaceDetector, create_detector, load_image

COLLINS = Face(box=(181, 62, 268, 172), score=1.0)
WEIGHTS = {"yunet": "yunet_2026may.onnx", "yolo": "yolov8_lite_t_face.onnx"}
FINDING = sorted(set(DETECTORS) - {"none"})


@pytest.fixture(scope="module")
def build(request):
    """Makes a detector of a name; skips where its weights are missing."""
    built = {}

    def make(name):
        options = {}
        if name in WEIGHTS:
            options["weights"] = request.getfixturevalue("shared_dir") / "models" / WEIGHTS[name]
        if name not in built:
            built[name] = create_detector(name, device="cpu", **options)
        return built[name]

    return make


def marked(names):
    return [pytest.param(name, marks=[pytest.mark.data] if name in WEIGHTS else []) for name in names]


@pytest.mark.parametrize("name", marked(DETECTORS))
def test_every_detector_keeps_the_protocol(build, name, astronaut):
    detector = build(name)
    assert isinstance(detector, FaceDetector)
    assert detector.name == name
    assert detector.detect([]) == []
    for lone in (Image.fromarray(astronaut), astronaut, torch.zeros(3, 9, 9), "photo.jpg"):
        with pytest.raises(TypeError, match="Wrap it"):
            detector.detect(lone)


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
def test_photos_together_give_what_each_gives_alone(build, name, astronaut):
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
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (11, 300), (300, 11), (1, 3000)])
def test_pictures_of_any_size_are_survived(build, name, size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    [faces] = build(name).detect([pixels])
    assert len(faces) == (name == "none")


@pytest.mark.parametrize("name", marked(FINDING))
def test_landmarks_lie_where_eyes_nose_and_mouth_are(build, name, astronaut):
    [[face]] = build(name).detect([astronaut])
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert math.dist(left_eye, (201, 103)) < 8  # read off the photo
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
def test_common_boxes_of_all_detectors_are_nearly_one(build, photo, shared_dir):
    picture = load_image(shared_dir / "media" / f"{photo}.jpg")
    reference = build("mtcnn").detect([picture])[0]
    for name in WEIGHTS:
        detector = build(name)
        for face in detector.detect([picture])[0]:
            common = Face(face.common_box, 1)
            assert max(common.iou(other) for other in reference) > 0.65


def test_box_calibrations_move_and_scale_about_the_centre():
    face = Face((10, 20, 30, 60), 1)
    assert BoxCalibration().common_box(face.box) == face.box
    assert BoxCalibration(2, 0.5, 0.1, -0.25).common_box(face.box) == pytest.approx((2, 20, 42, 40))
    with pytest.raises(ValueError, match="above 0"):
        BoxCalibration(height=0)


def test_the_whole_image_is_one_face_whose_usual_crop_is_the_image(astronaut):
    from fer_attention.faces import CropRule, cut_face

    detector = create_detector("none")
    photo = Image.fromarray(astronaut[:48, :48])
    [[face]] = detector.detect([photo])
    assert (face.box, face.score, face.landmarks) == ((0, 0, 48, 48), 1, None)
    crop, _ = cut_face(photo, face, CropRule(), size=48)
    np.testing.assert_array_equal(np.asarray(crop), astronaut[:48, :48])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_score": 1.5}, r"min_score is a number in \[0, 1\]; got 1.5"),
        ({"iou": -1}, r"iou is a number in \[0, 1\]"),
        ({"device": "cuda:99"}, "not available|runs on the CPU"),
        ({"weights": "absent.onnx"}, r"no file 'absent\.onnx' to read the YuNet model"),
        ({"weights": __file__}, "not a YuNet model"),
        ({"max_side": 3}, "max_side is at least"),
    ],
)
def test_yunet_refuses_what_cannot_be(options, message, tmp_path, shared_dir):
    given = {"weights": shared_dir / "models" / WEIGHTS["yunet"], "device": "cpu", **options}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        create_detector("yunet", **given)


def test_yunet_without_weights_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="fer-attention weights download yunet"):
        create_detector("yunet", device="cpu")


@pytest.mark.data
def test_yunet_equals_opencv_called_directly(build, shared_dir):
    cv2 = pytest.importorskip("cv2")
    path = shared_dir / "media" / "multiface.jpg"
    pixels = np.asarray(load_image(path))
    weights = str(shared_dir / "models" / WEIGHTS["yunet"])
    network = cv2.FaceDetectorYN.create(weights, "", (pixels.shape[1], pixels.shape[0]), 0.6, 0.3)
    _, rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    whole = create_detector("yunet", device="cpu", weights=weights, max_side=None)
    boxes = sorted(face.box for face in whole.detect([path])[0])
    expected = sorted((x, y, x + w, y + h) for x, y, w, h in rows[:, :4].astype(float))
    np.testing.assert_allclose(boxes, expected, atol=1e-3)


@pytest.mark.data
def test_yunet_finds_faces_that_are_too_large_for_it_in_a_smaller_copy(build, shared_dir):
    path = shared_dir / "media" / "single_medium.jpg"  # a face of 1,500 pixels
    weights = shared_dir / "models" / WEIGHTS["yunet"]
    assert create_detector("yunet", device="cpu", weights=weights, max_side=None).detect([path]) == [[]]
    [[face]] = build("yunet").detect([path])
    assert face.height > 1000
