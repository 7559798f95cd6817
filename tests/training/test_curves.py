"""Learning curves as a picture and as a line of text."""

import io

import numpy as np
import pytest
from PIL import Image

from fer_attention.training import TrainingCallbacks, train
from fer_attention.training.curves import curves_png, sparkline
from fer_attention.training.history import Epoch
from tests.support.tiny_runs import stripes, tiny


def history(count):
    return [
        Epoch(n, 0.1 / n, 2 / n, 0.5 - 0.3 / n, 2.1 / n, 0.4 - 0.2 / n, 0.3, 1.0, 0.1, 500.0, 3.0)
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [1, 2, 45])
def test_the_picture_of_any_number_of_epochs_shows_lines(count):
    epochs = history(count)
    with Image.open(io.BytesIO(curves_png(epochs, epochs[-1]))) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 50


def test_the_same_history_gives_the_same_picture():
    epochs = history(5)
    assert curves_png(epochs, epochs[2]) == curves_png(epochs, epochs[2])
    assert curves_png(epochs, epochs[2]) != curves_png(epochs, epochs[3])


@pytest.mark.parametrize(
    ("values", "line"),
    [([1.0], "▁"), ([2, 2, 2], "▁▁▁"), ([0, 1, 0], "▁█▁"), (range(60), None)],
)
def test_a_line_of_text_follows_the_values(values, line):
    drawn = sparkline(list(values))
    assert len(drawn) == min(20, len(values))
    assert drawn == (line or "".join(sorted(drawn)))


def test_a_run_leaves_its_curves_unless_told_not_to(tmp_path):
    train(tiny(epochs=1), stripes(), tmp_path / "with")
    train(tiny(epochs=1), stripes(), tmp_path / "without", curves=False)
    assert (tmp_path / "with" / "curves.png").is_file()
    assert not (tmp_path / "without" / "curves.png").exists()


def test_the_time_left_is_estimated_from_the_first_step_on(tmp_path):
    seen = []
    train(tiny(epochs=3), stripes(), tmp_path, callbacks=TrainingCallbacks(on_progress=seen.append))
    assert [(one.epoch, one.epochs) for one in seen] == [(epoch, 3) for epoch in (1, 2, 3) for _ in range(4)]
    assert all(one.seconds_left > 0 for one in seen[:-1])
    assert seen[-1].seconds_left == 0
