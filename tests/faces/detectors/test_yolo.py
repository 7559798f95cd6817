"""The `yolo` detector on small synthetic graphs."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_attention.faces import DETECTORS, FaceDetector, ImageError
from fer_attention.faces.detectors.yolo import YOLODetector
from tests.support.yolo_graphs import (
    ANSWERS,
    HEIGHT,
    PLANTED,
    WIDTH,
    as_columns,
    constant_model,
    landmarks_of,
    red_finder,
)

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", params=ANSWERS)
def planted(request, tmp_path_factory):
    path = constant_model(tmp_path_factory.mktemp("yolo") / "planted.onnx", ANSWERS[request.param])
    return request.param, YOLODetector(weights=path, device="cpu")


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    return YOLODetector(weights=red_finder(tmp_path_factory.mktemp("yolo") / "red.onnx"), device="cpu")


def picture(width, height, box=None, colour=(255, 0, 0)):
    photo = Image.new("RGB", (width, height))
    if box is not None:
        photo.paste(colour, box)
    return photo


@settings(max_examples=20)
@given(width=st.integers(1, 700), height=st.integers(1, 700), several=st.integers(1, 3))
def test_planted_faces_are_found_in_pixels_of_the_photo(planted, width, height, several):
    name, detector = planted
    ratio = min(WIDTH / width, HEIGHT / height)
    inner = [max(1, round(width * ratio)), max(1, round(height * ratio))]
    bars = [(WIDTH - inner[0]) // 2, (HEIGHT - inner[1]) // 2]

    def back(x, y):
        return (x - bars[0]) * width / inner[0], (y - bars[1]) * height / inner[1]

    photos = [Image.new("RGB", (width, height))] * several
    for faces in detector.detect(photos):
        assert len(faces) == 2
        for face, (centre, size, score) in zip(faces, PLANTED[::-1], strict=True):
            low = back(centre[0] - size[0] / 2, centre[1] - size[1] / 2)
            high = back(centre[0] + size[0] / 2, centre[1] + size[1] / 2)
            np.testing.assert_allclose(face.box, [*low, *high], atol=0.5, rtol=1e-4)
            assert face.score == pytest.approx(score, abs=1e-5)
            if name.endswith((" 5", " 65")):
                assert face.landmarks is None
            else:
                points = [back(*point) for point in landmarks_of(centre)]
                np.testing.assert_allclose(face.landmarks, points, atol=0.5, rtol=1e-4)


@settings(max_examples=60)
@given(width=st.integers(1, 1500), height=st.integers(1, 1500))
def test_a_face_as_large_as_the_photo_has_its_borders(finder, width, height):
    [[face]] = finder.detect([Image.new("RGB", (width, height), "red")])
    np.testing.assert_allclose(face.box, (0, 0, width, height), atol=1e-3)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((96, 64), (20, 11, 45, 50)),
        ((48, 32), (5, 6, 25, 30)),  # enlarged
        ((30, 40), (0, 1, 9, 13)),
        ((960, 300), (100, 30, 500, 290)),  # shrunk
        ((333, 1001), (50, 700, 250, 1001)),
    ],
)
def test_a_red_area_is_found_at_its_position(finder, size, box):
    photo = picture(*size, box)
    photo.paste((0, 0, 255), (0, 0, 3, 3))  # blue elsewhere: the channels must not be swapped
    [[face]] = finder.detect([photo])
    pixel = max(size[0] / WIDTH, size[1] / HEIGHT, 1)  # of the input, in pixels of the photo
    np.testing.assert_allclose(face.box, box, atol=0.55 * pixel)


def test_shrinking_averages_pixels(finder):
    stripes = np.zeros((4 * HEIGHT, 4 * WIDTH, 3), np.uint8)
    stripes[:, 2::4, 0] = 255  # a quarter red: below one half in the mean, wherever a sample falls
    assert [finder.detect([np.roll(stripes, shift, axis=1)])[0] for shift in range(4)] == [[]] * 4


def seven():
    boxes = [(5 * k, 3 * k, 5 * k + 20, 3 * k + 24) for k in range(7)]
    photos = [picture(90 + 11 * k, 70 - 2 * k, box) for k, box in enumerate(boxes)]
    photos[3] = picture(50, 50)
    return photos


@pytest.mark.parametrize("batch", ["batch", 1, 3, 7])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_any_batch_size_gives_the_same_faces_in_order(tmp_path, finder, batch, batch_size):
    path = red_finder(tmp_path / "red.onnx", batch=batch)
    detector = YOLODetector(weights=path, device="cpu", batch_size=batch_size)
    alone = [finder.detect([photo])[0] for photo in seven()]
    assert [len(faces) for faces in alone] == [1, 1, 1, 0, 1, 1, 1]
    assert len({faces[0].box for faces in alone if faces}) == 6
    assert detector.detect(seven()) == alone
    assert detector.detect(tuple(seven()[:2])) == alone[:2]
    assert detector.detect([]) == []


@pytest.mark.parametrize(("batch", "runs"), [("batch", [3, 3, 1]), (2, [2, 2, 2, 2])])
def test_photos_are_read_one_batch_at_a_time(tmp_path, monkeypatch, batch, runs):
    path = red_finder(tmp_path / "red.onnx", batch=batch)
    detector = YOLODetector(weights=path, device="cpu", batch_size=3)
    events = []
    run = detector._run
    monkeypatch.setattr(detector, "_run", lambda pictures: events.append(len(pictures)) or run(pictures))

    class Photos(Sequence):
        def __len__(self):
            return 7

        def __getitem__(self, index):
            events.append("read")
            return seven()[index]

    assert len(detector.detect(Photos())) == 7
    assert [event for event in events if event != "read"] == runs
    assert events[: runs[0] + 1] == ["read"] * runs[0] + [runs[0]]


def test_a_half_precision_model_gets_half_precision_input(tmp_path):
    path = constant_model(tmp_path / "half.onnx", as_columns(20), dtype=np.float16)
    [faces] = YOLODetector(weights=path, device="cpu").detect([Image.new("RGB", (WIDTH, HEIGHT))])
    np.testing.assert_allclose(faces[1].box, (37.5, 18.25, 57.5, 44.25), atol=0.05)


@pytest.mark.parametrize(("size", "side"), [(None, 640), (320, 320)])
def test_a_model_without_fixed_sides_takes_the_requested_size(tmp_path, monkeypatch, size, side):
    path = red_finder(tmp_path / "red.onnx", sides=("height", "width"))
    detector = YOLODetector(weights=path, device="cpu", size=size)
    shapes = []
    run = detector._run
    monkeypatch.setattr(detector, "_run", lambda pictures: shapes.append(pictures.shape) or run(pictures))
    [[face]] = detector.detect([picture(700, 350, (100, 70, 300, 250))])
    assert shapes == [(1, 3, side, side)]
    np.testing.assert_allclose(face.box, (100, 70, 300, 250), atol=0.55 * 700 / side + 0.01)


def columns(*faces):
    """Build the output of a model without landmarks for faces (x1, y1, x2, y2, score)."""
    answer = np.zeros((5, 126), np.float32)
    for position, (x1, y1, x2, y2, score) in enumerate(faces):
        answer[:, position] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, score
    return [answer]


def found(path, answer, **options):
    """Return boxes and scores in a black image of the input's size."""
    detector = YOLODetector(weights=constant_model(path, answer), device="cpu", **options)
    [faces] = detector.detect([Image.new("RGB", (WIDTH, HEIGHT))])
    return [(*(round(value, 3) for value in face.box), round(face.score, 3)) for face in faces]


def test_overlapping_faces_are_suppressed_and_the_largest_comes_first(tmp_path):
    small, best, worse = (50, 10, 60, 20, 0.95), (10, 10, 40, 50, 0.9), (12, 10, 42, 50, 0.8)
    path = tmp_path / "model.onnx"
    assert found(path, columns(small, worse, best)) == [best, small]
    assert found(path, columns(small, worse, best), iou=0.99) == [best, worse, small]


def test_min_score_drops_weak_faces(tmp_path):
    faces = [(10, 10, 40, 50, 0.61), (50, 10, 60, 20, 0.59)]
    path = tmp_path / "model.onnx"
    assert found(path, columns(*faces)) == faces[:1]
    assert found(path, columns(*faces), min_score=0.5) == faces
    assert found(path, columns(*faces), min_score=1) == []


def test_invalid_candidates_are_dropped_and_scores_are_clipped(tmp_path):
    nan, infinite = float("nan"), float("inf")
    good = (10, 10, 40, 50, 1.25)
    damaged = [(nan, 5, 9, 9, 0.9), (60, 5, 60, 9, 0.9), (70, 9, 80, 5, 0.9), (60, 5, infinite, 9, 0.9)]
    unknown = (60, 30, 70, 40, nan)
    found_faces = found(tmp_path / "model.onnx", columns(*damaged, good, unknown), min_score=0.5)
    assert found_faces == [(10, 10, 40, 50, 1)]


def test_a_face_with_a_nan_landmark_is_dropped(tmp_path):
    answer = as_columns(20)
    answer[0][8, 5] = np.nan
    assert len(found(tmp_path / "model.onnx", answer)) == 1


def test_faces_wholly_inside_the_bars_are_dropped(tmp_path):
    over, left, right = (10, -5, 40, 50, 0.9), (1, 5, 15, 25, 0.9), (81, 30, 90, 60, 0.9)
    path = constant_model(tmp_path / "model.onnx", columns(over, left, right))
    detector = YOLODetector(weights=path, device="cpu")
    square = Image.new("RGB", (64, 64))  # lies from 16 to 80
    [[face]] = detector.detect([square])
    np.testing.assert_allclose(face.box, (-6, -5, 24, 50), atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (5, 5), (11, 300), (300, 11), (3, 4000)])
def test_tiny_and_narrow_images_have_no_face(finder, size):
    assert finder.detect([Image.new("RGB", size)]) == [[]]


def test_the_detector_is_registered_as_yolo(finder):
    assert DETECTORS["yolo"] is YOLODetector
    assert isinstance(finder, FaceDetector)
    assert finder.name == "yolo"
    assert finder.layout == "decoded columns"
    assert finder.device == torch.device("cpu")


def test_single_and_unreadable_images_are_refused(finder, tmp_path):
    with pytest.raises(TypeError, match="got a single Image"):
        finder.detect(Image.new("RGB", (9, 9)))
    with pytest.raises(ImageError, match="gone.jpg"):
        finder.detect([tmp_path / "gone.jpg"])
