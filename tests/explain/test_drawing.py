"""Overlays of heat maps, and panels of explanations."""

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from fer_attention import EmotionRecognizer, build_model
from fer_attention.explain import explain_faces, explanation_panel, overlay
from fer_attention.explain.drawing import last_of_stages
from fer_attention.rendering.figures import png_file


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


def test_an_overlay_blends_image_and_colours():
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
        (np.full((2, 2), 1.5), 0.5, "must be in"),
        (np.full((2, 2), np.nan), 0.5, "must be in"),
        (np.zeros((2, 2, 1)), 0.5, "must be a map"),
        (np.zeros((0, 2)), 0.5, "must be a map"),
        (np.zeros((2, 2)), 1.5, "alpha must be in"),
    ],
)
def test_invalid_overlays_are_rejected(heat, alpha, message):
    with pytest.raises(ValueError, match=message):
        overlay(np.zeros((4, 4), np.uint8), heat, alpha=alpha)


def test_a_panel_has_a_row_per_model(recognizer, astronaut):
    attentions = ("none", "se", "cbam", "gc")
    rows = [explain_faces(untrained(recognizer, name), astronaut)[0] for name in attentions]
    figure = explanation_panel(astronaut, rows)
    shown = texts(figure)
    assert [row.model for row in rows] == [t for t in shown if t.startswith("resnet18")]
    assert shown.count("no attention\nblock") == 1
    assert sum("positions" in text for text in shown) == 8  # cbam and gc, in four stages each
    assert sum("channels, sorted" in text for text in shown) == 8  # se and cbam
    picture = png_file(figure)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"


def test_texts_of_a_panel_are_neither_cut_off_nor_overlap(explained, astronaut):
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
