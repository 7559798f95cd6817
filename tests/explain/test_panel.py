"""Panels of explanations: what they say, and that a person can read it."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from fer_attention import EmotionRecognizer, build_model
from fer_attention.explain import explain_faces, explanation_panel
from fer_attention.explain.panel import last_of_stages
from fer_attention.faces import Face
from fer_attention.rendering.figures import png_file

SMALLEST = 1 / 62
"""Smallest height of text, as a share of the panel's width: 11 pixels in a page's column of 700."""


@pytest.fixture(scope="module")
def recognizer():
    return EmotionRecognizer.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def explained(recognizer, astronaut):
    return explain_faces(recognizer, astronaut)


@pytest.fixture(scope="module")
def models(recognizer, astronaut):
    """One face as explained by untrained models with and without attention."""
    names = ("none", "se", "cbam", "gc", "simam")
    return [explain_faces(untrained(recognizer, name), astronaut)[0] for name in names]


def untrained(recognizer, attention):
    torch.manual_seed(0)
    classes = len(recognizer.labels)
    model = build_model("resnet18", attention=attention, width=0.25, stem="half", num_classes=classes)
    model.labels, model.preprocessing = recognizer.labels, recognizer.preprocessing
    return EmotionRecognizer(model, recognizer.detector, device="cpu")


def several(explanation, number, shares=None):
    """The explanation of `number` faces in a row of the photo, with long names and doubt if wanted."""
    width = 400 / number
    rows = []
    for n in range(number):
        face = Face(box=(50 + n * width, 60, 50 + (n + 0.8) * width, 60 + 0.8 * width), score=0.99)
        probabilities = dict(shares or explanation.prediction.probabilities)
        prediction = replace(explanation.prediction, face=face, probabilities=probabilities)
        rows.append(replace(explanation, prediction=prediction, target=prediction.emotion))
    return rows


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def shown(figure):
    """Texts that are drawn: not the tick labels of axes that are off."""
    hidden = {text for axes in figure.axes if not axes.axison for text in axes.xaxis.findobj(Text)}
    hidden |= {text for axes in figure.axes if not axes.axison for text in axes.yaxis.findobj(Text)}
    return [text for text in texts(figure) if text not in hidden]


def check_readable(figure):
    figure.draw_without_rendering()
    texts = shown(figure)
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    assert len(boxes) > 10
    for name, box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, name
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, name
    for (one, first), (other, second) in combinations(boxes, 2):
        assert not first.overlaps(second), (one, other)
    pixels = [text.get_fontsize() * figure.dpi / 72 for text in texts]
    assert min(pixels) / figure.bbox.width >= SMALLEST
    for axes in figure.axes:
        if axes.images:
            inside = axes.get_window_extent()
            outside = [box for text, box in zip(texts, boxes, strict=True) if text.axes is not axes]
            assert not any(inside.overlaps(box) for _, box in outside)


DOUBT = {"surprise": 0.3, "contempt": 0.25, "neutral": 0.2, "disgust": 0.15, "happy": 0.1}
LONG = {"a name of an emotion that is longer than any": 0.9, "another name that is long as well": 0.1}


@pytest.mark.parametrize("attention", [False, True], ids=["", "attention"])
@pytest.mark.parametrize("shares", [None, DOUBT, LONG], ids=["sure", "doubt", "long names"])
@pytest.mark.parametrize("number", [1, 3, 6])
def test_texts_are_large_enough_and_never_overlap(explained, astronaut, number, shares, attention):
    figure = explanation_panel(astronaut, several(explained[0], number, shares), attention=attention)
    check_readable(figure)
    assert figure.bbox.height / figure.bbox.width < 0.6 + number * (0.46 if attention else 0.25)


def test_a_legend_says_what_the_colours_mean(explained, astronaut):
    figure = explanation_panel(astronaut, explained)
    words = [text.get_text() for text in shown(figure)]
    for expected in ("Red: the answer rests on this region.", "hardly used", "used most", "for happy"):
        assert words.count(expected) == 1
    assert any("Several blue bars: it is unsure." in text for text in words)
    assert any("LayerCAM" in text for text in words)
    other = explanation_panel(astronaut, [replace(explained[0], target="sad", method="gradcam")])
    words = [text.get_text() for text in shown(other)]
    assert {"Red: this region speaks for the emotion.", "for sad"} <= set(words)
    assert any("Grad-CAM" in text for text in words)


def test_doubt_is_shown_with_a_coloured_bar_for_each_candidate(explained, astronaut):
    rows = several(explained[0], 1, {"happy": 0.45, "neutral": 0.42, "sad": 0.08, "fear": 0.05})
    prediction = rows[0].prediction
    assert prediction.answer == "unsure (happy / neutral)"
    figure = explanation_panel(astronaut, rows)
    assert "unsure (happy / neutral)" in [text.get_text() for text in shown(figure)]
    (bars,) = [axes for axes in figure.axes if axes.containers]
    colours = [bar.get_facecolor() for bar in bars.containers[0]]
    assert colours[0] == colours[1] != colours[2] == colours[3]


def test_emotions_beyond_the_first_four_are_added_up(explained, astronaut):
    shares = {"happy": 0.5, "sad": 0.2, "fear": 0.1, "angry": 0.08, "neutral": 0.07, "disgust": 0.05}
    figure = explanation_panel(astronaut, several(explained[0], 1, shares))
    (bars,) = [axes for axes in figure.axes if axes.containers]
    assert [label.get_text() for label in bars.get_yticklabels()] == [
        "happy", "sad", "fear", "angry", "2 others"
    ]  # fmt: skip
    assert [text.get_text() for text in bars.texts] == ["50%", "20%", "10%", "8%", "12%"]


def test_curves_are_drawn_only_if_asked_for_and_once_for_each_row(models, astronaut):
    def lines(figure):
        return [len(axes.lines) for axes in figure.axes if axes.lines]

    assert lines(explanation_panel(astronaut, models)) == []
    figure = explanation_panel(astronaut, models, attention=True)
    assert lines(figure) == [4, 4, 4]  # se, cbam and simam have weights of channels, in four stages
    words = [text.get_text() for text in shown(figure)]
    assert words.count("No attention block") == 1
    assert words.count("Positions that its attention amplifies (red)") == 3  # cbam, gc and simam
    assert [row.model for row in models] == [text for text in words if text.startswith("resnet18")]
    check_readable(figure)
    assert png_file(figure)[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_last_block_of_each_stage_is_shown(explained):
    stages = last_of_stages(explained[0].attention)
    assert [maps[0].layer for maps in stages] == [f"stages.{stage}.blocks.1.attn" for stage in range(4)]
    with pytest.raises(ValueError, match="at least one"):
        explanation_panel(np.zeros((8, 8, 3), np.uint8), [])
