"""Agreement of a classifier with the people who voted on each image, rather than with one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.data.ferplus import agreed_emotions
from fer_attention.emotions import FERPLUS, label_map
from fer_attention.evaluation.accuracy import Accuracy, accuracy

CLEAR = "6 votes or more"
"""The level by which models are compared."""

AGREEING = (6, 8, 10)
"""Numbers of agreeing votes, of ten, from which on images are counted apart."""


@dataclass(frozen=True)
class CrowdAgreement:
    """Agreement of the most probable class, and of the probabilities, with what people voted for.

    >>> votes = np.zeros((2, 10), dtype=np.int64)
    >>> votes[0, 1], votes[1, [0, 3]] = 10, (4, 6)  # ten for happy; four for neutral, six for sad
    >>> found = crowd_agreement(np.array([[0.9, 0.1], [0.7, 0.3]]), votes, ("happy", "sad"))
    >>> {name: level.correct / level.n for name, level in found.levels.items()}  # doctest: +ELLIPSIS
    {'majority': 0.5, 'plurality': 0.5, '6 votes or more': 0.5, '8 votes or more': 1.0, ...}

    Attributes:
        levels: Accuracy by how clear the votes are: `majority` (FER+'s official rule: more than half of the
            votes, single votes dropped), `plurality` (one emotion has the most), then `6 votes or more` and
            so on. A level without images is left out.
        recall: Accuracy by class, on the images whose `majority` is this class; classes without are left out.
        label_accuracy: Of the data's own labels, on the images of `plurality`; None if not asked for.
        cross_entropy: Of the votes' distribution and the probabilities, mean over `n` images, nats.
        entropy: Of the votes' distribution: what the cross-entropy cannot fall below.
        n: Images with a vote for one of the classes.
    """

    levels: dict[str, Accuracy]
    cross_entropy: float
    entropy: float
    n: int
    recall: dict[str, Accuracy]
    label_accuracy: Accuracy | None = None

    @property
    def summary(self) -> str:
        """The numbers beside the levels, in sentences."""
        note = (
            f"Cross-entropy to the distribution of votes: {self.cross_entropy:.4f} nats. Disagreement among "
            f"the voters accounts for {self.entropy:.4f} of them (n = {self.n})."
        )
        if self.label_accuracy is None:
            return note
        return f"{note} The data's own labels agree with the plurality in {self.label_accuracy}."

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        own = self.label_accuracy
        return {
            "levels": {name: one.to_dict() for name, one in self.levels.items()},
            "recall": {label: one.to_dict() for label, one in self.recall.items()},
            "data_labels_on_plurality": None if own is None else own.to_dict(),
            "cross_entropy": self.cross_entropy,
            "entropy": self.entropy,
            "n": self.n,
        }


def crowd_agreement(
    probabilities: NDArray[np.floating[Any]],
    votes: NDArray[np.int64],
    label_names: Sequence[str],
    *,
    labels: NDArray[np.int64] | None = None,
) -> CrowdAgreement:
    """Compare probabilities with votes.

    Images on which the people's answer is none of the classes (unknown, no face, contempt for a model
    without it) are left out of the accuracies. The cross-entropy takes all votes for the classes.

    >>> votes = np.zeros((2, 10), dtype=np.int64)
    >>> votes[0, 1], votes[1, [0, 3]] = 10, (7, 3)  # ten for happy; seven for neutral, three for sad
    >>> found = crowd_agreement(np.array([[0.9, 0.1], [0.5, 0.5]]), votes, ("happy", "neutral"))
    >>> found.levels["majority"].value, round(found.cross_entropy, 4)
    (0.5, 0.3993)

    Args:
        probabilities: (N, C), rows that sum to 1.
        votes: (N, 10) counts: FER+'s eight emotions, unknown, not a face (`FaceDataset.votes`).
        label_names: C names of classes, in the library's spelling or a synonym.
        labels: (N,) the data's own labels, to be compared with the votes as well.

    Raises:
        ValueError: Shapes do not fit, or nobody voted for any of the classes.
    """
    votes = np.asarray(votes)
    if votes.shape != (len(probabilities), len(FERPLUS) + 2) or probabilities.shape[1] != len(label_names):
        raise ValueError(
            f"Needs probabilities (N, {len(label_names)}) and votes (N, {len(FERPLUS) + 2}), got "
            f"{probabilities.shape} and {votes.shape}."
        )
    class_of = _class_of(label_names)
    most = votes.max(1)
    plurality = plurality_of(votes, label_names)
    chosen = {"majority": _majority(votes, class_of), "plurality": plurality}
    chosen |= {f"{count} votes or more": np.where(most >= count, plurality, -1) for count in AGREEING}
    answers = probabilities.argmax(1)
    levels = {
        name: accuracy(answers[true >= 0], true[true >= 0])
        for name, true in chosen.items()
        if (true >= 0).any()
    }
    shares = vote_shares(votes, label_names)
    voted = shares.any(1)
    if not voted.any():
        raise ValueError(f"Nobody voted for any of {', '.join(label_names)} on these {len(votes)} images.")
    shares = shares[voted]
    tiny = np.finfo(np.float64).tiny
    own = None
    if labels is not None and (plurality >= 0).any():
        own = accuracy(np.asarray(labels)[plurality >= 0], plurality[plurality >= 0])
    return CrowdAgreement(
        levels=levels,
        cross_entropy=float(-(shares * np.log(np.maximum(probabilities[voted], tiny))).sum(1).mean()),
        entropy=float(-(shares * np.log(np.maximum(shares, tiny))).sum(1).mean()),
        n=int(voted.sum()),
        recall={
            name: accuracy(answers[of_class], chosen["majority"][of_class])
            for index, name in enumerate(label_names)
            if (of_class := chosen["majority"] == index).any()
        },
        label_accuracy=own,
    )


def plurality_of(votes: NDArray[np.int64], label_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the class (N,) with the most votes; -1 for a tie, and if none of the classes has the most.

    Args:
        votes: (N, 10), as in `crowd_agreement`.
        label_names: Names of the classes.
    """
    alone = (votes == votes.max(1, keepdims=True)).sum(1) == 1
    return np.where(alone, _class_of(label_names)[votes.argmax(1)], -1)


def vote_shares(votes: NDArray[np.int64], label_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of each class among the votes for the classes, (N, C); rows without any are zeros.

    Args:
        votes: (N, 10), as in `crowd_agreement`.
        label_names: C names of classes.
    """
    shares = np.zeros((len(votes), len(label_names)))
    for column, index in enumerate(_class_of(label_names)):
        if index >= 0:
            shares[:, index] += votes[:, column]
    return shares / np.maximum(shares.sum(1, keepdims=True), 1)


def _class_of(label_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the class of each column of votes, -1 for none."""
    places = label_map(FERPLUS, label_names).values()
    return np.array([-1 if place is None else place for place in (*places, None, None)])


def _majority(votes: NDArray[np.int64], class_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class that FER+'s rule chooses for each image, -1 for none."""
    found = np.full(len(votes), -1)
    for row, counts in enumerate(votes.tolist()):
        if any(counts):
            kept, reason = agreed_emotions(counts, "majority")
            found[row] = -1 if reason else class_of[int(np.argmax(kept))]
    return found
