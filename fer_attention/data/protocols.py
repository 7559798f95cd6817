"""Protocols: a set divided into folds by a rule.

Each is a pure function of the data, its options and a seed.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_attention.data.folds import Fold, Protocol, RowIndices
from fer_attention.data.loading import check_options
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.splits import OFFICIAL, training_fraction
from fer_attention.optional import needs_extra
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry


class ProtocolWarning(UserWarning):
    """Limit of what a protocol measures.

    >>> images, names = np.zeros((20, 4, 4), dtype=np.uint8), np.arange(20).astype(str)
    >>> faces = FaceDataset(images, np.arange(20) % 2, names, np.repeat("all", 20), ("happy", "sad"))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = create_protocol("paper", faces)
    >>> caught[0].category.__name__
    'ProtocolWarning'
    """


ONE_FOLD = ("official", "holdout", "paper")
"""Protocols that divide a data set in one way."""

PROTOCOLS: Registry[Callable[..., list[Fold]]] = open_registry("protocol")


def create_protocol(name: str, data: FaceDataset, *, seed: int = 0, **options: Any) -> Protocol:
    """Create the folds of a protocol for a data set, verified.

    >>> images, names = np.zeros((6, 4, 4), dtype=np.uint8), np.array(list("abcdef"))
    >>> labels, people = np.array([0, 1, 0, 1, 0, 1]), np.array(list("uuvvww"))
    >>> faces = FaceDataset(images, labels, names, np.repeat("all", 6), ("happy", "sad"), subjects=people)
    >>> loso = create_protocol("loso", faces)
    >>> [fold.name for fold in loso.folds], loso.fold(0).test
    (['u', 'v', 'w'], array([0, 1]))

    Args:
        name: `official`, `holdout`, `subject_kfold`, `loso`, `stratified_kfold` or `paper`.
        data: The set.
        seed: Seed of the random choices; the global random state is not used.
        options: The protocol's own, such as `folds=10`.

    Raises:
        UnknownNameError: No protocol has this name.
        DataError: The set lacks what the protocol needs, or is too small for it.
        TypeError: The protocol has no such option.
    """
    check_options(options, PROTOCOLS[name], f"the protocol {name!r}")
    folds = PROTOCOLS[name](data, seed=seed, **options)
    for fold in folds:
        fold.check(data)
        missing = np.setdiff1d(data.labels[fold.test], data.labels[fold.train])
        if len(missing):
            names = ", ".join(data.label_names[label] for label in missing)
            text = f"{name}, {fold.name}: no training image of {names}."
            warnings.warn(text, ProtocolWarning, stacklevel=2)
    return Protocol(name, tuple(folds), seed, options)


def open_protocol(name: str, data: FaceDataset, *, seed: int = 0, **options: Any) -> Protocol:
    """Create a protocol by name, or open the `.json` file of `Protocol.save`, which has seed and options.

    >>> open_protocol("folds.json", faces).fold(3)  # doctest: +SKIP

    Raises:
        UnknownNameError: No protocol has this name.
        DataError: The set does not fit the protocol, or the file is absent or damaged.
    """
    if name.endswith(".json"):
        return Protocol.load(name, data)
    return create_protocol(name, data, seed=seed, **options)


def check_protocol(name: str, fold: int = 0, /, **options: Any) -> None:
    """Check the name of a protocol, or its file, and the number of a fold as far as possible without data.

    Raises:
        UnknownNameError: No protocol has this name.
        DataError: The file is absent or damaged, or there is no such fold.
        TypeError: The protocol has no such option.
    """
    if name.endswith(".json"):
        count: int | None = Protocol.count(name)
    else:
        check_options(options, PROTOCOLS[name], f"the protocol {name!r}")
        default = inspect.signature(PROTOCOLS[name]).parameters.get("folds")
        count = options.get("folds", None if default is None else default.default)
        count = 1 if name in ONE_FOLD else count
    if isinstance(count, int) and fold >= count:
        known = "fold 0 only" if count == 1 else f"folds 0 to {count - 1}"
        raise DataError(f"{name} has {known}, got fold {fold}.")


def default_protocol(data: FaceDataset) -> str:
    """Return the sound protocol for a data set: its own splits, else by subject, else by class.

    >>> images, labels, names = np.zeros((3, 4, 4), dtype=np.uint8), np.zeros(3, dtype=np.int64), np.arange(3)
    >>> splits = np.array(["train", "public", "private"])  # as in FER2013
    >>> default_protocol(FaceDataset(images, labels, names.astype(str), splits, ("happy",)))
    'official'
    """
    if any(np.isin(names, data.splits).all() for names in OFFICIAL):
        return "official"
    if np.isin(("train", "test"), data.splits).all():
        return "holdout"
    return "subject_kfold" if data.subjects is not None else "stratified_kfold"


@PROTOCOLS.register("official")
def _official(data: FaceDataset, *, seed: int) -> list[Fold]:
    """Use the data set's splits: FER2013's Training, PublicTest, PrivateTest; or train, validation, test."""
    for names in OFFICIAL:
        masks = [data.splits == name for name in names]
        if all(mask.any() for mask in masks):
            return [Fold("official", *(mask.nonzero()[0] for mask in masks))]
    raise DataError(
        "official needs the splits train, public and private, or train, validation and test; there are "
        f"{', '.join(sorted(set(data.splits.tolist())))}. Use subject_kfold or stratified_kfold."
    )


@PROTOCOLS.register("holdout")
def _holdout(data: FaceDataset, *, seed: int, share: float = 0.1) -> list[Fold]:
    """Use the data set's train and test; part of train validates, by subject if subjects are known."""
    training, test = ((data.splits == name).nonzero()[0] for name in ("train", "test"))
    if not len(training) or not len(test):
        there = ", ".join(sorted(set(data.splits.tolist())))
        raise DataError(f"holdout needs the splits train and test; there are {there}.")
    if not 0 < share < 1:
        raise DataError(f"holdout: share is between 0 and 1, got {share}.")
    part = data.take(training)
    if part.subjects is None:
        chosen = training_fraction(part, share, seed=seed)
    else:
        subjects = np.random.default_rng(seed).permutation(np.unique(part.subjects))
        chosen = np.isin(part.subjects, subjects[: max(1, round(share * len(subjects)))]).nonzero()[0]
    return [Fold("holdout", np.delete(training, chosen), training[chosen], test)]


@PROTOCOLS.register("subject_kfold")
def _subject_kfold(data: FaceDataset, *, seed: int, folds: int = 10, shuffle: bool = False) -> list[Fold]:
    """Put every `folds`-th subject, sorted, into one fold, as is usual for CK+; the next fold validates."""
    subjects = _subjects(data, "subject_kfold", at_least=max(3, folds))
    if folds < 3:
        raise DataError(f"subject_kfold needs 3 folds or more (train, validation, test), got {folds}.")
    if shuffle:
        subjects = np.random.default_rng(seed).permutation(subjects)
    return _rotated(len(data), [_of(data, subjects[start::folds]) for start in range(folds)])


@PROTOCOLS.register("loso")
def _loso(data: FaceDataset, *, seed: int, validation_subjects: int = 1) -> list[Fold]:
    """Leave one subject out, as is usual for JAFFE; the next ones in sorted order validate."""
    if validation_subjects < 1:
        raise DataError(f"loso validates on 1 subject or more, got {validation_subjects}.")
    subjects = _subjects(data, "loso", at_least=2 + validation_subjects)
    rows = [_of(data, subject) for subject in subjects]
    return _rotated(len(data), rows, names=subjects.tolist(), validating=validation_subjects)


@PROTOCOLS.register("stratified_kfold")
def _stratified_kfold(data: FaceDataset, *, seed: int, folds: int = 5) -> list[Fold]:
    """Make folds of like class shares, for sets without subjects; the next fold validates."""
    if data.subjects is not None:
        raise DataError("This set names its subjects: use subject_kfold, which keeps a person on one side.")
    with needs_extra("train", "stratified_kfold needs scikit-learn"):
        from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415  (optional, loaded on use)
    rarest = int(np.bincount(data.labels)[np.unique(data.labels)].min())
    if rarest < 3:
        raise DataError(f"stratified_kfold needs 3 images of each class; the rarest class has {rarest}.")
    if not 3 <= folds <= rarest:
        raise DataError(
            f"stratified_kfold: folds from 3 to {rarest}, the rarest class's images; got {folds}."
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return _rotated(len(data), [rows for _, rows in splitter.split(data.labels, data.labels)])


@PROTOCOLS.register("paper")
def _paper(data: FaceDataset, *, seed: int) -> list[Fold]:
    """Report a random fifth, then validate on 30 % of the rest (Miskow and Altahhan 2022)."""
    warnings.warn(
        "The protocol 'paper' divides images at random: frames of one sequence and pictures of one person "
        "lie on both sides, so it measures how well known people are recognised again, and reports too much. "
        "It is for comparison with published numbers; subject_kfold and loso are sound.",
        ProtocolWarning,
        stacklevel=3,
    )
    order = np.random.default_rng(seed).permutation(len(data))
    tested = round(0.2 * len(data))
    validating = round(0.3 * (len(data) - tested))
    test, validation = np.sort(order[:tested]), np.sort(order[tested : tested + validating])
    return [_fold("random", len(data), test, validation, shared=("subjects", "sequences"))]


def _subjects(data: FaceDataset, name: str, *, at_least: int) -> NDArray[np.str_]:
    if data.subjects is None:
        raise DataError(f"{name} needs subjects, which this set does not name; use stratified_kfold.")
    subjects = np.unique(data.subjects)
    if len(subjects) < at_least:
        raise DataError(f"{name} needs {at_least} subjects or more, there are {len(subjects)}.")
    return subjects


def _of(data: FaceDataset, subjects: Any) -> RowIndices:
    return np.isin(np.asarray(data.subjects), subjects).nonzero()[0]


def _rotated(
    size: int, parts: Sequence[RowIndices], *, names: Sequence[str] = (), validating: int = 1
) -> list[Fold]:
    """Make one fold per part: the part is tested, the following ones validate, the rest train."""
    folds = []
    for number, test in enumerate(parts):
        following = [parts[(number + 1 + k) % len(parts)] for k in range(validating)]
        name = names[number] if names else f"fold {number}"
        folds.append(_fold(name, size, test, np.sort(np.concatenate(following))))
    return folds


def _fold(
    name: str, size: int, test: RowIndices, validation: RowIndices, shared: tuple[str, ...] = ()
) -> Fold:
    train = np.setdiff1d(np.arange(size), np.concatenate([test, validation]))
    return Fold(name, train, validation.astype(np.int64), test.astype(np.int64), shared=shared)
