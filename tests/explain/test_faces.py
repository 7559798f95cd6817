"""Explanations of the faces of a photo."""

import numpy as np
import pytest
import torch
from PIL import Image

from fer_attention import EmotionRecognizer
from fer_attention.explain import explain_faces, grad_cam
from fer_attention.export import export_onnx
from fer_attention.faces import cut_input
from tests.support.exported_models import lively_model


@pytest.fixture(scope="module")
def recognizer():
    return EmotionRecognizer.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def explained(recognizer, astronaut):
    return explain_faces(recognizer, astronaut)


def test_a_face_is_explained_as_it_is_predicted(recognizer, explained, astronaut):
    (face,) = explained
    (prediction,) = recognizer.predict(astronaut)
    assert face.prediction == prediction
    assert (face.target, face.model) == ("happy", "resnetv2_18_eca_elu")
    assert face.crop.shape == (48, 48)
    assert face.crop.dtype == np.uint8
    photo = Image.fromarray(np.asarray(astronaut))
    crop = torch.from_numpy(cut_input(photo, prediction.face, recognizer.preprocessing))
    np.testing.assert_array_equal(face.crop, crop[0])
    inputs = recognizer.preprocessing.normalize(crop[None])
    happy = recognizer.labels.index("happy")
    np.testing.assert_allclose(
        face.cam, grad_cam(recognizer.classifier.model, inputs, target=happy, method="layercam")[0], atol=1e-6
    )
    assert [record.part for record in face.attention] == ["channel"] * 8


def test_another_emotion_can_be_explained(recognizer, explained, astronaut):
    (face,) = explain_faces(recognizer, astronaut, target="surprise", method="gradcam++")
    assert (face.target, face.method, face.prediction.emotion) == ("surprise", "gradcam++", "happy")
    assert not np.array_equal(face.cam, explained[0].cam)


def test_the_limit_selects_the_largest_faces(recognizer, astronaut):
    assert explain_faces(recognizer, np.zeros((64, 64, 3), np.uint8)) == []
    two = np.concatenate([astronaut, np.asarray(Image.fromarray(astronaut).resize((256, 512)))], axis=1)
    faces = recognizer.predict(two)
    assert len(faces) == 2
    assert [e.prediction for e in explain_faces(recognizer, two, limit=1)] == faces[:1]
    assert [e.prediction for e in explain_faces(recognizer, two)] == faces


def test_unknown_labels_and_exported_models_are_rejected(recognizer, astronaut, tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'happy'"):
        explain_faces(recognizer, astronaut, target="hapy")
    with pytest.raises(ValueError, match="at least 1"):
        explain_faces(recognizer, astronaut, limit=0)
    export_onnx(lively_model("vgg11"), tmp_path / "model.onnx")
    exported = EmotionRecognizer.from_pretrained(tmp_path / "model.onnx", detector=recognizer.detector)
    with pytest.raises(ValueError, match="Only PyTorch models have maps and gradients"):
        explain_faces(exported, astronaut)
