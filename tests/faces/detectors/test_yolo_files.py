"""Files, options and devices of the `yolo` detector, and a real model."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from fer_attention.faces import Face, create_detector
from fer_attention.faces.detectors.yolo import YOLODetector
from tests.support.yolo_graphs import as_columns, constant_model, red_finder

pytest.importorskip("onnxruntime")

COLLINS = Face(box=(181, 62, 268, 172), score=1.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return red_finder(tmp_path_factory.mktemp("yolo") / "red.onnx")


def test_missing_weights_are_explained_with_the_licences():
    with pytest.raises(ValueError, match=r"weights='yolov8n-face.onnx'.*GPL-3.0.*AGPL-3.0"):
        create_detector("yolo")


def test_a_missing_file_is_named(tmp_path):
    for missing in (tmp_path / "gone.onnx", tmp_path):
        with pytest.raises(FileNotFoundError, match=missing.name):
            YOLODetector(weights=missing)


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256)) * 9])
def test_a_file_that_is_not_an_onnx_model_is_named(tmp_path, content, capfd):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.pt.*exported to ONNX"):
        YOLODetector(weights=tmp_path / "best.pt", device="cpu")
    assert capfd.readouterr() == ("", "")


def test_unknown_output_shapes_are_refused_with_the_known_layouts(tmp_path):
    coco = constant_model(tmp_path / "coco.onnx", [np.zeros((84, 126))], batch=1)
    with pytest.raises(ValueError, match=r"coco\.onnx.*\(1, 84, 126\).*Known are: YOLO5Face rows"):
        YOLODetector(weights=coco, device="cpu")


@pytest.mark.parametrize(
    "options", [{"dtype": np.float64}, {"sides": (64,)}, {"sides": (96, 64, 3)}], ids=["type", "flat", "deep"]
)
def test_other_inputs_are_refused_with_the_expected_ones(tmp_path, options):
    model = constant_model(tmp_path / "model.onnx", as_columns(5), **options)
    with pytest.raises(ValueError, match=r"model\.onnx.*\(N, 3, height, width\).*images tensor"):
        YOLODetector(weights=model, device="cpu")


def test_a_model_that_fails_at_run_time_is_named(tmp_path, capfd):
    model = constant_model(tmp_path / "model.onnx", as_columns(5), sides=("height", "width"), frozen=True)
    with pytest.raises(RuntimeError, match=r"model\.onnx.*\(2, 3, 640, 640\)"):
        YOLODetector(weights=model, device="cpu")
    assert YOLODetector(weights=model, device="cpu", batch_size=1).layout == "decoded columns"
    assert capfd.readouterr() == ("", "")


def test_a_size_that_contradicts_the_model_is_refused(path):
    with pytest.raises(ValueError, match=r"red\.onnx.*fixed to 64x96.*size=64"):
        YOLODetector(weights=path, device="cpu", size=64)


@pytest.mark.parametrize(
    "options",
    [
        {"min_score": 1.1},
        {"min_score": -0.1},
        {"min_score": float("nan")},
        {"iou": 1.5},
        {"size": 100},
        {"size": 0},
        {"size": -32},
        {"batch_size": 0},
        {"device": "gpu"},
        {"device": "meta"},
    ],
    ids=str,
)
def test_numbers_and_devices_out_of_range_are_refused(path, options):
    with pytest.raises(ValueError, match="got|not available"):
        create_detector("yolo", **{"weights": path, "device": "cpu", **options})


def test_the_extra_is_named_if_onnx_runtime_is_missing(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"ONNX Runtime: pip install 'fer_attention\[faces\]'"):
        YOLODetector(weights=path)


def test_threads_follow_torch_and_nothing_is_printed(path, capfd):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        detector = YOLODetector(weights=path, device="cpu")
    finally:
        torch.set_num_threads(before)
    assert detector._opened.session.get_session_options().intra_op_num_threads == 1
    detector.detect([Image.new("RGB", (30, 30), "red")])
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def real(shared_dir):
    weights = shared_dir / "models" / "yolov8_lite_t_face.onnx"
    if not weights.is_file():
        pytest.skip(f"needs {weights.name} beside the checkout")
    return create_detector("yolo", weights=weights, device="cpu")


@pytest.mark.data
def test_a_real_model_finds_the_astronaut_and_prints_nothing(real, astronaut, capfd):
    assert real.layout == "YOLOv8-face maps"
    [[face]] = real.detect([astronaut])
    assert face.iou(COLLINS) > 0.5
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    for x, y in face.landmarks:
        assert face.box[0] < x < face.box[2]
        assert face.box[1] < y < face.box[3]
    assert capfd.readouterr() == ("", "")


@pytest.mark.data
def test_a_real_model_and_mtcnn_agree_on_landmarks(real, astronaut):
    [[mine]], [[other]] = (d.detect([astronaut]) for d in (real, create_detector("mtcnn", device="cpu")))
    apart = np.linalg.norm(np.subtract(mine.landmarks, other.landmarks), axis=1)
    assert apart.max() < 0.1 * other.height


@pytest.mark.data
def test_a_real_model_with_batch_size_one_takes_several_photos(real, astronaut, shared_dir):
    photos = [astronaut, np.zeros((40, 60, 3), np.uint8), shared_dir / "media" / "multiface.jpg"]
    together = real.detect(photos)
    assert [len(faces) for faces in together] == [1, 0, 6]
    assert together == [real.detect([photo])[0] for photo in photos]
