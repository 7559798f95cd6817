import json

import numpy as np
import onnx
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from fer_attention import EmotionRecognizer
from fer_attention.classifiers import OnnxClassifier
from fer_attention.classifiers.base import calibration_of
from fer_attention.export import export_onnx
from fer_attention.faces import CropRule, Face, crop_face, cut_input
from fer_attention.faces.images import load_image
from fer_attention.models import WeightsError, bundled_path, load_weights
from fer_attention.models.bundled import DEFAULT
from fer_attention.preprocessing import Preprocessing
from tests.support.exported_models import FixedDetector, lively_model, noise_crops

COLLINS = Face(box=(181, 62, 268, 172), score=1.0)


@pytest.fixture(scope="module")
def bundled():
    return load_weights(bundled_path(DEFAULT))


@pytest.fixture(scope="module")
def file(bundled, tmp_path_factory, astronaut):
    path = tmp_path_factory.mktemp("onnx") / "bundled.onnx"
    crop = np.asarray(crop_face(load_image(astronaut), COLLINS.box, CropRule(), size=96))
    made = export_onnx(bundled, path, faces=crop[None])
    assert (made.opset, made.checked) == (18, 6)  # four of noise, the package's face, this one
    return path


def alike(one, other):
    assert [face.face for face in one] == [face.face for face in other]
    for a, b in zip(one, other, strict=True):
        assert list(a.probabilities) == list(b.probabilities)
        assert_allclose(list(a.probabilities.values()), list(b.probabilities.values()), atol=1e-3)


def test_an_exported_model_agrees_with_torch_on_the_astronaut(file, astronaut):
    ours = EmotionRecognizer.from_pretrained(file, device="cpu", threads=1)
    theirs = EmotionRecognizer.from_pretrained(detector=ours.detector, device="cpu")
    [found] = ours.predict(astronaut)
    assert found.emotion == "happy"
    alike([found], theirs.predict(astronaut))
    assert ours.labels == theirs.labels
    assert ours.preprocessing == theirs.preprocessing


@pytest.mark.data
def test_photos_give_the_same_faces_and_probabilities_as_torch(file, shared_dir):
    ours = EmotionRecognizer.from_pretrained(file, device="cpu")
    theirs = EmotionRecognizer.from_pretrained(detector=ours.detector, device="cpu")
    for photo in sorted((shared_dir / "media").glob("*.jpg")):
        found = ours.predict(photo)
        assert found
        alike(found, theirs.predict(photo))


def test_batches_and_photos_without_faces_work(file, astronaut):
    faces = [Face(box=(181 + shift, 62 + shift, 268, 172), score=1) for shift in range(0, 20, 4)]
    recognizer = EmotionRecognizer(OnnxClassifier(file), FixedDetector(faces), batch_size=2)
    together = EmotionRecognizer(OnnxClassifier(file), FixedDetector(faces))
    alike(recognizer.predict(astronaut), together.predict(astronaut))
    recognizer.detector = FixedDetector([])
    assert recognizer.predict([astronaut, astronaut]) == [[], []]


class NoTorch(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise AssertionError(f"torch ran {func}")


def test_torch_is_not_used_between_detector_and_result(file, bundled, astronaut):
    recognizer = EmotionRecognizer.from_pretrained(file, detector=FixedDetector([COLLINS]))
    with NoTorch():
        [found] = recognizer.predict(astronaut)
        assert found.emotion == "happy"
        with pytest.raises(AssertionError, match="torch ran"):
            EmotionRecognizer(bundled, recognizer.detector, device="cpu").predict(astronaut)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", ["square", "box"])
def test_the_input_follows_the_crop_rule_and_channels_of_the_model(astronaut, channels, shape):
    grey = (0.5,) * channels
    rule = CropRule(shape=shape)
    preprocessing = Preprocessing((40, 56), channels, grey, grey, interpolation="bicubic", crop_rule=rule)
    photo = load_image(astronaut)
    for picture in (photo, photo.convert("L")):
        crop = cut_input(picture, COLLINS, preprocessing)
        expected = crop_face(picture, COLLINS.box, rule, size=(40, 56), interpolation="bicubic")
        expected = np.asarray(expected.convert("L" if channels == 1 else "RGB"))
        assert_array_equal(crop, expected.reshape(40, 56, channels).transpose(2, 0, 1))
        assert crop.dtype == np.uint8


def test_the_graph_standardises_as_the_preprocessing_does(bundled, file):
    crops = np.concatenate([noise_crops(bundled, 3), np.zeros((1, 1, 48, 48), np.uint8)])
    exported = OnnxClassifier(file)
    with torch.inference_mode():
        logits = bundled(bundled.preprocessing.normalize(torch.from_numpy(crops)))
    assert_allclose(exported.logits(crops), logits, atol=1e-4)
    temperature = calibration_of(exported).temperature
    assert_allclose(exported.probabilities(crops), (logits / temperature).softmax(1), atol=1e-5)
    assert exported.logits(crops[:0]).shape == (0, len(bundled.labels))


def test_crops_that_do_not_fit_are_refused(file):
    model = OnnxClassifier(file)
    for wrong in (np.zeros((1, 1, 48, 48)), np.zeros((1, 3, 48, 48), np.uint8), np.zeros((48, 48), np.uint8)):
        with pytest.raises(ValueError, match="Crops are uint8"):
            model.logits(wrong)


def damaged(file, to, **changes):
    graph = onnx.load(file)
    facts = {entry.key: entry.value for entry in graph.metadata_props} | changes
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {name: text for name, text in facts.items() if text is not None})
    onnx.save(graph, to)
    return to


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": None}, "export_onnx"),
        ({"format": "another/1"}, "another/1"),
        ({"labels": None}, "KeyError"),
        ({"labels": json.dumps(["happy", "sad"])}, "2 labels"),
        ({"labels": json.dumps("abcdefg")}, "list of names"),
        ({"labels": json.dumps([1, 2, 3, 4, 5, 6, 7])}, "list of names"),
        ({"labels": "["}, "metadata"),
        ({"preprocessing": "{}"}, "metadata"),
        ({"preprocessing": Preprocessing((64, 64)).to_json()}, "does not fit"),
        ({"spec": "{}"}, "metadata"),
    ],
)
def test_a_file_with_damaged_metadata_is_a_clear_error(file, tmp_path, changes, why):
    wrong = damaged(file, tmp_path / "wrong.onnx", **changes)
    with pytest.raises(WeightsError, match=why) as caught:
        EmotionRecognizer.from_pretrained(wrong, detector=FixedDetector([]))
    assert "wrong.onnx" in str(caught.value)


def test_files_that_are_not_models_are_clear_errors(tmp_path):
    with pytest.raises(WeightsError, match="absent.onnx is not a file"):
        EmotionRecognizer.from_pretrained("absent.onnx", detector=FixedDetector([]))
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(WeightsError, match="cannot read"):
        EmotionRecognizer.from_pretrained(tmp_path / "text.onnx", detector=FixedDetector([]))


def test_threads_are_at_least_one_and_for_onnx_files_only(file):
    assert OnnxClassifier(file, threads=2).session.get_session_options().intra_op_num_threads == 2
    with pytest.raises(ValueError, match="at least 1"):
        OnnxClassifier(file, threads=0)
    with pytest.raises(ValueError, match="threads is for"):
        EmotionRecognizer.from_pretrained(detector=FixedDetector([]), device="cpu", threads=2)


def test_a_model_with_three_channels_and_other_labels_works(tmp_path, astronaut):
    model = lively_model(in_chans=3, num_classes=2, img_size=(32, 40))
    model.labels = ("calm", "excited")
    path = export_onnx(model, tmp_path / "two.onnx").path
    detector = FixedDetector([COLLINS])
    exported = EmotionRecognizer.from_pretrained(path, detector=detector).predict(Image.fromarray(astronaut))
    alike(exported, EmotionRecognizer(model, detector, device="cpu").predict(astronaut))
