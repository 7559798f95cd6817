"""Progress of a training on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from fer_attention.cli import training_output
from fer_attention.cli.training_output import duration, training_bar, training_callbacks
from fer_attention.training import Epoch, TrainingProgress


def progress(step, epoch=1, rate=100.0, left=600.0):
    return TrainingProgress(
        epoch, step, 50, loss=1.9, train_accuracy=0.25, images_per_second=rate, epochs=4, seconds_left=left
    )


EPOCH = Epoch(1, 0.1, 1.9, 0.2, 1.8, 0.3, 0.25, 2.0, 0.1, 100.0, 200.0)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(training_output.time, "monotonic", lambda: Clock.now)
    return Clock


def test_without_a_terminal_there_is_a_line_a_minute(clock, capsys):
    callbacks = training_callbacks(training_bar())
    for step in range(1, 50):
        clock.now += 4
        callbacks.on_progress(progress(step))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "epoch 1/4  step 3/50  loss 1.900  25.0%  100 images/s  10 min left"
    assert [line.split()[3] for line in lines] == ["3/50", "18/50", "33/50", "48/50"]
    assert not any("0 images/s" in line.replace("100 images/s", "") for line in lines)


def test_the_line_of_an_epoch_counts_for_its_minute(clock, capsys):
    callbacks = training_callbacks(training_bar())
    clock.now = 8
    callbacks.on_epoch(EPOCH)
    clock.now = 60
    callbacks.on_progress(progress(1, epoch=2))
    captured = capsys.readouterr()
    assert "epoch   1  loss 1.9000" in captured.out
    assert captured.err == ""


def test_a_terminal_shows_no_rate_before_there_is_one(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(training_output, "err", Console(file=screen, force_terminal=True, width=120))
    with training_bar() as bar:
        callbacks = training_callbacks(bar)
        bar.refresh()
        assert "starting" in screen.getvalue()
        assert "images/s" not in screen.getvalue()
        callbacks.on_progress(progress(10))
        bar.refresh()
    assert "100 images/s  10 min left" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")]
)
def test_times_are_short(seconds, text):
    assert duration(seconds) == text
