"""Labels that a model may answer with, on data of the same or of another label set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fer_attention.data import DataError, FaceDataset
from fer_attention.data.labels import EMOTIONS
from fer_attention.emotions import FERPLUS, LABEL_SETS, canonical, label_map
from fer_attention.evaluation.accuracy import accuracy
from fer_attention.registry import unknown_name

ALL_LABELS = "all"
"""Name for all of a model's labels, in place of a label set."""


def label_set(name: str) -> tuple[str, ...]:
    """Look up the emotions of a label set.

    Raises:
        UnknownNameError: The label set is unknown.
    """
    if name not in LABEL_SETS:
        raise unknown_name("label set", name, (ALL_LABELS, *LABEL_SETS))
    return LABEL_SETS[name]


def choose_answers(labels: tuple[str, ...], data: FaceDataset, emotions: str | None) -> tuple[str, ...]:
    """Return the labels of a model that it may answer with, in its order.

    By default these are the labels that the data has, too, so that an answer that can never be right does not
    count as a mistake. Data with votes also knows the eight emotions that people voted on.

    Args:
        labels: The model's labels.
        data: What it is measured on.
        emotions: A label set instead of the data's labels, or `"all"` for all of the model's.

    Raises:
        DataError: Model and data have fewer than two labels in common.
        UnknownNameError: The label set is unknown.
        ValueError: The model has fewer than two labels of the set.
    """
    if emotions == ALL_LABELS:
        return labels
    wanted = data.label_names if emotions is None else label_set(emotions)
    if emotions is None and data.votes is not None:
        wanted = (*wanted, *FERPLUS)
    index = label_map(labels, wanted)
    kept = tuple(label for number, label in enumerate(labels) if index[number] is not None)
    if len(kept) >= 2:
        return kept
    if emotions is not None:
        raise ValueError(f"The model knows {', '.join(labels)}: fewer than two are in {emotions}.")
    raise DataError(
        f"The model knows {', '.join(labels)}, and the data has {', '.join(data.label_names)}: fewer than "
        "two are the same. If they only have other names, map them with --labels (labels=FILE)."
    )


def leave_out_emotions(part: FaceDataset, answers: tuple[str, ...]) -> tuple[FaceDataset, dict[str, int]]:
    """Leave out images of emotions that are not among the answers; other labels stay.

    Returns:
        The images that are left, and the number of those left out by label.
    """
    index = label_map(part.label_names, answers)
    foreign = [
        number
        for number, name in enumerate(part.label_names)
        if index[number] is None and canonical(name) in EMOTIONS
    ]
    counts = {part.label_names[number]: int((part.labels == number).sum()) for number in foreign}
    left_out = {name: count for name, count in counts.items() if count}
    return (part.take(~np.isin(part.labels, foreign)) if left_out else part), left_out


def restriction_note(
    probabilities: NDArray[np.float64],
    true: NDArray[np.int64],
    labels: tuple[str, ...],
    answers: tuple[str, ...],
) -> str:
    """Describe the effect of leaving out some of a model's labels.

    Args:
        probabilities: (N, labels), of all of the model's labels.
        true: (N,), indices of the right answers among `answers`.
        labels: The model's labels.
        answers: Those that it may answer with.
    """
    index = np.array([labels.index(answer) for answer in answers])
    free = accuracy(probabilities.argmax(1), index[true])
    others = ", ".join(label for label in labels if label not in answers)
    return (
        f"The model answers with {', '.join(answers)} only, without {others}. With all of its labels its "
        f"accuracy is {free}."
    )
