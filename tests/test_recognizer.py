import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from fer_attention import EmotionRecognizer, FacePrediction, create_model
from fer_attention.calibration import Calibration
from fer_attention.faces import Face, ImageError, create_detector, cut_input
from fer_attention.models import WeightsError, bundled_path, load_weights, save_weights
from tests.support.exported_models import FixedDetector

COLLINS = Face(box=(181, 62, 268, 172), score=1.0)


@pytest.fixture(scope="module")
def recognizer():
    return EmotionRecognizer.from_pretrained(device="cpu")


def test_the_astronaut_has_one_happy_face(recognizer, astronaut):
    [found] = recognizer.predict(astronaut)
    assert found.face.iou(COLLINS) > 0.6
    assert found.emotion == "happy"
    assert found.probability > 0.5
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_path_image_and_array_give_the_same_result(recognizer, astronaut, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.asarray(astronaut)).save(path)
    expected = recognizer.predict(path)
    assert recognizer.predict(Image.open(path)) == expected
    assert recognizer.predict(np.asarray(astronaut)) == expected
    assert recognizer.predict(str(path)) == expected


def test_a_list_gives_a_list_of_lists_in_its_order(recognizer, astronaut):
    blank = np.zeros((40, 60, 3), np.uint8)
    got = recognizer.predict([blank, astronaut, blank])
    assert [len(faces) for faces in got] == [0, 1, 0]
    assert got[1][0].emotion == "happy"
    assert recognizer.predict([]) == []
    assert recognizer.predict(blank) == []


def test_batches_of_faces_do_not_change_the_probabilities(astronaut):
    model = load_weights(bundled_path("resnetv2_18_eca_elu.fer2013"))
    faces = [Face(box=(181 + shift, 62 + shift, 268, 172), score=0.9) for shift in range(0, 20, 4)]
    one, many = (
        EmotionRecognizer(model, FixedDetector(faces), device="cpu", batch_size=size).predict(astronaut)
        for size in (1, 64)
    )
    for a, b in zip(one, many, strict=True):
        assert list(a.probabilities.values()) == pytest.approx(list(b.probabilities.values()), abs=1e-5)


def test_the_model_sees_the_crop_of_its_own_rule(astronaut):
    model = load_weights(bundled_path("resnetv2_18_eca_elu.fer2013"))
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    EmotionRecognizer(model, FixedDetector([COLLINS]), device="cpu").predict(astronaut)
    crop = torch.from_numpy(cut_input(Image.fromarray(np.asarray(astronaut)), COLLINS, model.preprocessing))
    torch.testing.assert_close(seen[0], model.preprocessing.normalize(crop[None]))


def test_a_photo_that_cannot_be_read_is_an_error(recognizer, tmp_path):
    (tmp_path / "x.jpg").write_text("no image")
    for path in (tmp_path / "x.jpg", tmp_path / "absent.jpg"):
        with pytest.raises(ImageError, match=path.name):
            recognizer.predict(path)


def test_weights_are_given_by_name_or_file(tmp_path):
    model = create_model("resnet18_cbam", width=0.25)
    path = save_weights(model, tmp_path / "mine.safetensors")
    detector = create_detector("mtcnn", device="cpu", min_face_size=40)
    own = EmotionRecognizer.from_pretrained(path, detector=detector, device="cpu")
    assert own.classifier.model.spec == model.spec
    assert own.detector is detector
    with pytest.raises(ValueError, match="resnetv2_18_eca_elu.fer2013"):
        EmotionRecognizer.from_pretrained("resnet18_cbam", device="cpu")
    with pytest.raises(WeightsError, match="is not a file"):
        EmotionRecognizer.from_pretrained(tmp_path / "absent.safetensors", device="cpu")
    with pytest.raises(ValueError, match="mtcnn"):
        EmotionRecognizer.from_pretrained(detector="mtcn", device="cpu")


def test_a_model_without_labels_is_refused():
    with pytest.raises(ValueError, match="labels"):
        EmotionRecognizer(create_model("resnet18", width=0.25, num_classes=5), FixedDetector([]))


def test_threads_that_share_a_recogniser_agree(recognizer, astronaut):
    photos = [astronaut[shift : 300 - shift, 100 : 400 - 7 * shift] for shift in range(12)]
    expected = list(map(recognizer.predict, photos))
    assert all(expected)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(recognizer.predict, photos)) == expected


def test_a_pickled_recogniser_predicts_the_same(recognizer, astronaut):
    copy = pickle.loads(pickle.dumps(recognizer))  # noqa: S301
    assert copy.predict(astronaut) == recognizer.predict(astronaut)


def test_the_default_type_of_torch_changes_nothing(recognizer, astronaut):
    expected = recognizer.predict(astronaut)
    torch.set_default_dtype(torch.float64)
    try:
        assert recognizer.predict(astronaut) == expected
        assert EmotionRecognizer.from_pretrained(device="cpu").predict(astronaut) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_unavailable_device_is_named():
    for device in ("cuda:99", "gpu", "meta"):
        with pytest.raises(ValueError, match=device):
            EmotionRecognizer.from_pretrained(device=device)


def test_a_prediction_is_validated_and_converts_to_json():
    with pytest.raises(ValueError, match="sum to 1"):
        FacePrediction(COLLINS, {"happy": 0.5})
    record = FacePrediction(COLLINS, {"sad": 0.25, "happy": 0.75}).to_dict()
    assert record["emotion"] == "happy"
    assert json.loads(json.dumps(record)) == record


def test_a_prediction_in_doubt_names_its_candidates():
    rule = Calibration(threshold=0.6)
    sure = FacePrediction(COLLINS, {"sad": 0.25, "happy": 0.75}, rule)
    assert (sure.candidates, sure.unsure, sure.answer, sure.caption) == (
        ("happy",),
        False,
        "happy",
        "happy 75%",
    )
    torn = FacePrediction(COLLINS, {"sad": 0.45, "happy": 0.55}, rule)
    assert (torn.candidates, torn.unsure) == (("happy", "sad"), True)
    assert torn.answer == torn.caption == "unsure (happy / sad)"
    record = torn.to_dict()
    assert (record["emotion"], record["unsure"], record["candidates"]) == ("happy", True, ["happy", "sad"])


def test_the_bundled_calibration_reaches_every_prediction(recognizer, astronaut):
    [found] = recognizer.predict(astronaut)
    assert found.calibration.truth == "votes"
    assert found.candidates == ("happy",)
    assert recognizer.classifier.calibration is found.calibration


@pytest.mark.data
def test_every_face_of_a_group_photo_gets_probabilities(recognizer, shared_dir):
    found = recognizer.predict(shared_dir / "media" / "multiface.jpg")
    assert len(found) >= 3
    assert len({face.face.box for face in found}) == len(found)
