"""Learning curves of a run: a picture beside its other files, and small ones for a table of text."""

from __future__ import annotations

from collections.abc import Sequence

from fer_attention.rendering.figures import ACCENT, MUTED, WARM, new_figure, plain, png_file
from fer_attention.training.history import Epoch

BARS = "▁▂▃▄▅▆▇█"
LEGEND = {"fontsize": 8.5, "frameon": False}


def curves_png(history: Sequence[Epoch], best: Epoch) -> bytes:
    """Draw losses, accuracies and the learning rate by epoch, as a PNG file; a line marks the best epoch.

    Raises:
        ImportError: matplotlib is not installed.
    """
    epochs = [epoch.epoch for epoch in history]
    figure = new_figure(9.6, 3.0)
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, kind in ((loss, "loss"), (accuracy, "accuracy")):
        training = "loss" if kind == "loss" else "train_accuracy"
        lines = (("training, as augmented", training, MUTED), ("selection", f"validation_{kind}", ACCENT))
        for label, name, colour in lines:
            values = [getattr(epoch, name) for epoch in history]
            axes.plot(epochs, values, color=colour, label=label, marker="." if len(epochs) < 20 else None)
        axes.set(xlabel="epoch", ylabel=kind)
    rate.plot(epochs, [epoch.lr for epoch in history], color=ACCENT, marker="." if len(epochs) < 20 else None)
    rate.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    for axes in (loss, accuracy, rate):
        axes.axvline(best.epoch, color=WARM, linewidth=1, linestyle="--", label=f"best: epoch {best.epoch}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        plain(axes)
    loss.legend(**LEGEND)
    return png_file(figure)


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """Draw a curve in a line of text, at most `width` characters wide.

    >>> sparkline([0.2, 0.4, 0.3, 0.9])
    '▁▃▂█'
    """
    count = min(width, len(values))
    edges = [round(number * len(values) / count) for number in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
    low, span = min(means), max(means) - min(means)
    return "".join(BARS[round((mean - low) / span * (len(BARS) - 1)) if span else 0] for mean in means)
