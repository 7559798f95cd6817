"""FER+ (Barsoum et al. 2016, arXiv:1608.01041): ten people's votes on each of FER2013's images.

Targets follow section 3 of the paper, as the authors' released training code applies
it. `votes.py` joins the votes to the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from fer_attention.data.fer2013 import load_fer2013
from fer_attention.data.fer2013_csv import FER2013_CSV, VOTES_CSV
from fer_attention.data.loading import reader
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import OnError, PathLike, Source
from fer_attention.data.votes import read_votes
from fer_attention.emotions import FERPLUS, LABEL_SETS, label_map
from fer_attention.registry import check_choice

Target: TypeAlias = Literal["majority", "distribution"]
Emotions: TypeAlias = Literal["ferplus", "fer2013"]

MOST_EMOTIONS = 3


def recognises(source: Source) -> bool:
    """Return whether both FER+'s table and one of FER2013's are there."""
    return bool(source.named(VOTES_CSV)) and any(source.named(name) for name in FER2013_CSV[:2])


@reader(
    "ferplus",
    recognises=recognises,
    layout=f"{VOTES_CSV} and fer2013.csv in one folder",
    splits=("train", "public", "private"),
)
def load_ferplus(
    path: PathLike,
    *,
    votes: PathLike | None = None,
    target: Target = "distribution",
    emotions: Emotions = "ferplus",
    label_share: float = 0.0,
    own_labels: Sequence[str] = (),
    on_error: OnError = "raise",
) -> FaceDataset:
    """Read FER2013 with labels from the votes of ten people; rows are named as in `load_fer2013`.

    Images that FER+'s rules exclude are not errors. They are listed in `skipped` for any `on_error`, with the
    rule as the reason. `agreed_emotions` has the rules.

    >>> faces = load_ferplus("fer2013.zip", votes="ferplus_votes.csv", target="majority")  # doctest: +SKIP

    Args:
        path: FER2013 in any layout that `load_fer2013` reads.
        votes: `fer2013new.csv`, or a table that names files (`data.votes`); by default the one in `path`.
        target: `"distribution"` keeps up to three emotions an image, as rows of `targets`, with the likeliest
            (of several, the first in order) as the label; `"majority"` keeps the images on whose emotion more
            than half of the votes agree, FER+'s rule for reported accuracies, and no `targets`. The images of
            `"majority"` are all among those of `"distribution"`.
        emotions: `"ferplus"` for the eight, in FER+'s order; `"fer2013"` for FER2013's seven, without the
            votes for contempt.
        label_share: Share of FER2013's own label in each row of `targets`, from 0 to 1; the rest is what
            the votes say.
        own_labels: Splits that keep FER2013's own labels, for training on them and testing on what people
            saw; with `target="majority"` and `emotions="fer2013"` only.
        on_error: `"raise"` if rows cannot be used, or `"skip"` them and list them in `skipped`.

    Raises:
        DataError: Images or votes are absent or damaged, or do not belong together.
        UnknownNameError: The target or the emotions are unknown.
        ValueError: `label_share` is not between 0 and 1, or `own_labels` does not fit the other options.
    """
    _check(target, emotions, label_share)
    if own_labels and (target, emotions, label_share) != ("majority", "fer2013", 0):
        raise ValueError("own_labels needs target='majority', emotions='fer2013' and label_share=0.")
    table = read_votes(path if votes is None else votes, on_error=on_error)
    faces = load_fer2013(path, on_error=on_error)
    voted = table.join(faces)
    there, rows = len(faces) + len(faces.skipped), len(table.ballots)
    if not table.names_files and rows != there:
        raise DataError(
            f"FER2013 in {path} has {there} rows and the votes in {table.path} have {rows}. FER+ has one row "
            "for each of FER2013's 35,887, in its order: take the whole of both tables."
        )
    by_votes = label_by_votes(voted, target=target, emotions=emotions, label_share=label_share)
    if not own_labels:
        return by_votes
    for name in own_labels:
        by_votes.split(name)
    own = voted.labels[np.isin(voted.names, by_votes.names)]
    kept = np.isin(by_votes.splits, list(own_labels))
    return by_votes.relabelled(np.where(kept, own, by_votes.labels), by_votes.label_names)


def label_by_votes(
    crops: FaceDataset,
    *,
    target: Target = "distribution",
    emotions: Emotions = "ferplus",
    label_share: float = 0.0,
) -> FaceDataset:
    """Label images by the votes under FER+'s rules, with `targets` for `"distribution"` or a `label_share`.

    >>> votes = np.zeros((2, 10), dtype=np.int64)
    >>> votes[0, 1], votes[1, [0, 3]] = 10, (6, 4)  # happy; neutral, and sad for four of ten
    >>> images, names = np.zeros((2, 48, 48), dtype=np.uint8), np.array(["a", "b"])
    >>> splits = np.repeat("train", 2)
    >>> faces = FaceDataset(images, np.zeros(2, dtype=np.int64), names, splits, ("happy",), votes=votes)
    >>> voted = label_by_votes(faces)
    >>> [voted.label_names[label] for label in voted.labels], voted.targets[1, [0, 3]]
    (['happy', 'neutral'], array([0.6, 0.4], dtype=float32))

    Args:
        crops: Images with `votes`, under FER2013's labels.
        target: As of `load_ferplus`.
        emotions: As there.
        label_share: As there, of the image's present label.

    Raises:
        DataError: There are no votes, no image is left, or a label to mix in is not one of the emotions.
        UnknownNameError: The target or the emotions are unknown.
        ValueError: `label_share` is not between 0 and 1.
    """
    _check(target, emotions, label_share)
    names = LABEL_SETS[emotions]
    place = label_map(FERPLUS, names)
    kept, distributions, left_out = [], [], []
    for row, (name, counts) in enumerate(zip(crops.names.tolist(), _votes_of(crops).tolist(), strict=True)):
        shares, reason = _shares(counts, target, place, len(names))
        if reason or not shares.any():
            left_out.append((name, reason or "none of the emotions"))
        else:
            kept.append(row)
            distributions.append(shares / shares.sum())
    if not kept:
        raise DataError(f"FER+'s rules leave none of {len(crops)} images; the first: {left_out[:1]}.")
    chosen, by_votes = crops.take(kept), np.array(distributions)
    targets = None
    if target == "distribution" or label_share:
        own = label_share * _one_hot(chosen, names) if label_share else 0
        targets = ((1 - label_share) * by_votes + own).astype(np.float32)
    labelled = chosen.relabelled(by_votes.argmax(1).astype(np.int64), names, targets=targets)
    return replace(labelled, skipped=(*crops.skipped, *left_out))


def vote_targets(crops: FaceDataset) -> NDArray[np.float32]:
    """Compute each image's distribution over the labels by FER+'s rules, float32 (N, classes).

    Images on which the rules leave nothing keep their label.

    Raises:
        DataError: There are no votes.
    """
    place = label_map(FERPLUS, crops.label_names)
    targets = np.eye(len(crops.label_names), dtype=np.float32)[crops.labels]
    for row, counts in enumerate(_votes_of(crops).tolist()):
        shares, reason = _shares(counts, "distribution", place, len(crops.label_names))
        if not reason and shares.any():
            targets[row] = shares / shares.sum()
    return targets


def _shares(
    counts: Sequence[int], target: Target, place: Mapping[int, int | None], classes: int
) -> tuple[NDArray[np.float64], str]:
    """Sum an image's votes by class under FER+'s rules; the reason, if they exclude it."""
    agreed, reason = agreed_emotions(counts, target) if any(counts) else ([], "no votes")
    shares = np.zeros(classes)
    for index, count in enumerate(agreed):
        if (new := place[index]) is not None:
            shares[new] += count
    return shares, reason


def _votes_of(crops: FaceDataset) -> NDArray[np.int64]:
    if crops.votes is None:
        raise DataError("These images have no votes; add them with fer_attention.data.with_votes.")
    return crops.votes


def _check(target: str, emotions: str, label_share: float) -> None:
    for kind, value, known in (("target", target, Target), ("emotions", emotions, Emotions)):
        check_choice(kind, value, get_args(known))
    if not 0 <= label_share <= 1:
        raise ValueError(f"label_share must be between 0 and 1; got {label_share}.")


def _one_hot(crops: FaceDataset, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Encode each image's present label as a row of (N, names)."""
    place = label_map(crops.label_names, names)
    own = np.zeros((len(crops), len(names)))
    for row, label in enumerate(crops.labels.tolist()):
        if (new := place[label]) is None:
            raise DataError(
                f"The label {crops.label_names[label]!r} is not one of {', '.join(names)}, so no share of it "
                "can be mixed in."
            )
        own[row, new] = 1
    return own


def agreed_emotions(votes: Sequence[int], target: Target) -> tuple[list[int], str]:
    """Apply FER+'s rules to an image's votes.

    Single votes count as errors and are dropped first. Under `"majority"` the emotion with more than half of
    the others is kept. Under `"distribution"` the emotions are kept from the most votes on, those with
    equally many together, until they hold three quarters, or there are three, or it is the turn of unknown or
    "not a face", which is not kept unless it is the first; the image is left out if they hold no more than
    half, or are more than three.

    Args:
        votes: Ten counts, of the eight emotions, of unknown and of "not a face".
        target: Which rule.

    Returns:
        The votes of the eight emotions that are kept, and why the image is left out, empty if it is not.
    """
    counts = [count if count > 1 else 0 for count in votes]
    kept = _peak(counts) if target == "majority" else _peaks(counts)
    first, reason = kept.index(max(kept)), ""
    if 2 * sum(kept) <= sum(counts):
        reason = "no majority"
    elif sum(map(bool, kept)) > MOST_EMOTIONS:
        reason = f"more than {MOST_EMOTIONS} emotions"
    elif first >= len(FERPLUS):
        reason = ("unknown", "not a face")[first - len(FERPLUS)]
    return kept[: len(FERPLUS)], reason


def _peak(counts: list[int]) -> list[int]:
    first = counts.index(max(counts))
    return [count if place == first else 0 for place, count in enumerate(counts)]


def _peaks(counts: list[int]) -> list[int]:
    kept = [0] * len(counts)
    for peak in sorted({count for count in counts if count}, reverse=True):
        if 4 * sum(kept) >= 3 * sum(counts) or sum(map(bool, kept)) >= MOST_EMOTIONS:
            break
        for place in (place for place, count in enumerate(counts) if count == peak):
            if place >= len(FERPLUS):
                if not any(kept):
                    kept[place] = peak
                return kept
            kept[place] = peak
    return kept
