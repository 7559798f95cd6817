"""Models and detectors that a visitor can choose from."""

import pytest

from fer_attention.demo import Choices, usable_detectors
from fer_attention.faces import create_detector
from fer_attention.models import WeightsError, bundled_names, bundled_path
from fer_attention.models.bundled import DEFAULT
from fer_attention.registry import UnknownNameError
from tests.support.demo_parts import FACE, small_choices


def test_a_recogniser_is_created_once_for_each_model_and_detector():
    choices = small_choices()
    first = choices.recognizer(DEFAULT, "fixed")
    assert choices.recognizer(DEFAULT, "fixed") is first
    other = choices.recognizer(DEFAULT, "blind")
    assert other is not first
    assert other.classifier is first.classifier


def test_given_weights_come_first_and_get_distinct_names(tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "mine.safetensors")
        paths[-1].write_bytes(bundled_path(DEFAULT).read_bytes())
    choices = Choices([*paths, paths[0]], small_choices()._detectors, device="cpu")
    others = [name for name in bundled_names() if name != DEFAULT]
    assert choices.models == ["mine", "mine (2)", DEFAULT, *others]


def test_weights_that_cannot_be_used_are_an_error_at_once(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"text")
    with pytest.raises(WeightsError):
        Choices([tmp_path / "broken.safetensors"], small_choices()._detectors, device="cpu")


def test_detectors_that_cannot_be_created_are_reported_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    detectors, missing = usable_detectors("none", device="cpu")
    assert next(iter(detectors)) == "none"
    assert {"mtcnn", "none"} <= {*detectors}
    assert "weights" in missing["yolo"]
    assert "fer-attention weights download yunet" in missing["yunet"]


def test_the_first_detector_must_work():
    with pytest.raises(UnknownNameError, match="mtcnn"):
        usable_detectors("mtcn")
    with pytest.raises(ValueError, match="yolo"):
        usable_detectors("yolo")
    with pytest.raises(TypeError, match="weights"):
        usable_detectors("none", weights="x.onnx")


@pytest.mark.data
def test_a_detector_with_given_weights_comes_first(shared_dir):
    yunet = shared_dir / "models" / "yunet_2026may.onnx"
    detectors, missing = usable_detectors("yunet", weights=yunet, device="cpu")
    assert next(iter(detectors)) == "yunet"
    assert "yunet" not in missing


def test_a_demo_without_a_detector_is_an_error():
    with pytest.raises(ValueError, match="at least one detector"):
        Choices((), {})


def test_the_face_of_these_tests_is_where_mtcnn_finds_it(astronaut):
    [[face]] = create_detector("mtcnn", device="cpu").detect([astronaut])
    assert face.iou(FACE) > 0.7
