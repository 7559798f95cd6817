"""From a photo to overlays and panels."""

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from fer_attention import EmotionRecognizer, build_model
from fer_attention.explain import explain_faces, explanation_panel, grad_cam, overlay
from fer_attention.explain.drawing import last_of_stages
from fer_attention.export import export_onnx
from fer_attention.faces import cut_input
from fer_attention.rendering.figures import png_file
from tests.support.exported_models import lively_model


@pytest.fixture(scope="module")
def recognizer():
    return EmotionRecognizer.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def explained(recognizer, astronaut):
    return explain_faces(recognizer, astronaut)


def untrained(recognizer, attention):
    torch.manual_seed(0)
    classes = len(recognizer.labels)
    model = build_model("resnet18", attention=attention, width=0.25, stem="half", num_classes=classes)
    model.labels, model.preprocessing = recognizer.labels, recognizer.preprocessing
    return EmotionRecognizer(model, recognizer.detector, device="cpu")


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts)]


def test_the_astronauts_face_is_explained_as_it_is_predicted(recognizer, explained, astronaut):
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


def test_no_face_gives_no_explanation_and_a_limit_keeps_the_largest(recognizer, astronaut):
    assert explain_faces(recognizer, np.zeros((64, 64, 3), np.uint8)) == []
    two = np.concatenate([astronaut, np.asarray(Image.fromarray(astronaut).resize((256, 512)))], axis=1)
    faces = recognizer.predict(two)
    assert len(faces) == 2
    assert [e.prediction for e in explain_faces(recognizer, two, limit=1)] == faces[:1]
    assert [e.prediction for e in explain_faces(recognizer, two)] == faces


def test_what_cannot_be_explained_is_refused(recognizer, astronaut, tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'happy'"):
        explain_faces(recognizer, astronaut, target="hapy")
    with pytest.raises(ValueError, match="at least 1"):
        explain_faces(recognizer, astronaut, limit=0)
    export_onnx(lively_model("vgg11"), tmp_path / "model.onnx")
    exported = EmotionRecognizer.from_pretrained(tmp_path / "model.onnx", detector=recognizer.detector)
    with pytest.raises(ValueError, match="Explain the weights file"):
        explain_faces(exported, astronaut)


def test_an_overlay_is_the_blend_of_picture_and_colours():
    grey = np.full((4, 6), 100, np.uint8)
    heat = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    colours = np.asarray(colormaps["inferno"](heat))[..., :3] * 255
    seen = np.asarray(overlay(grey, heat, alpha=0.25)).astype(float)
    np.testing.assert_allclose(seen, 0.75 * 100 + 0.25 * colours, atol=1.01)
    assert overlay(Image.new("RGB", (60, 40)), heat).size == (60, 40)
    np.testing.assert_array_equal(np.asarray(overlay(grey, heat, alpha=0.0)), np.stack([grey] * 3, -1))


@pytest.mark.parametrize(
    ("heat", "alpha", "message"),
    [
        (np.full((2, 2), 1.5), 0.5, "lies in"),
        (np.full((2, 2), np.nan), 0.5, "lies in"),
        (np.zeros((2, 2, 1)), 0.5, "is a map"),
        (np.zeros((0, 2)), 0.5, "is a map"),
        (np.zeros((2, 2)), 1.5, "from 0 to 1"),
    ],
)
def test_impossible_overlays_are_refused(heat, alpha, message):
    with pytest.raises(ValueError, match=message):
        overlay(np.zeros((4, 4), np.uint8), heat, alpha=alpha)


def test_a_panel_of_several_models_has_a_row_for_each(recognizer, astronaut):
    attentions = ("none", "se", "cbam", "gc")
    rows = [explain_faces(untrained(recognizer, name), astronaut)[0] for name in attentions]
    figure = explanation_panel(astronaut, rows)
    said = texts(figure)
    assert [row.model for row in rows] == [t for t in said if t.startswith("resnet18")]
    assert said.count("no attention\nblock") == 1
    assert sum("positions" in text for text in said) == 8  # cbam and gc, in four stages each
    assert sum("channels, sorted" in text for text in said) == 8  # se and cbam
    picture = png_file(figure)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"


def test_no_text_of_a_panel_is_cut_off_or_overlaps_another_title(explained, astronaut):
    figure = explanation_panel(astronaut, explained)
    figure.canvas.draw()
    boxes = [a.title.get_window_extent() for a in figure.axes if a.title.get_text()]
    labels = [
        t.get_window_extent() for a in figure.axes for t in (*a.texts, *a.get_yticklabels()) if a.axison
    ]
    for box in (*boxes, *labels):
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_the_last_block_of_each_stage_is_shown(explained):
    shown = last_of_stages(explained[0].attention)
    assert [maps[0].layer for maps in shown] == [f"stages.{stage}.blocks.1.attn" for stage in range(4)]
    with pytest.raises(ValueError, match="at least one"):
        explanation_panel(np.zeros((8, 8, 3), np.uint8), [])
