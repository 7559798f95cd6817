"""From labels as a data set writes them, names or numbers, to emotions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fer_attention.bounded import bounded, cut
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.emotions import FIRST_CODES, LABEL_SETS, canonical
from fer_attention.registry import unknown_name
from fer_attention.yaml_files import load_yaml

Labels: TypeAlias = Mapping[str, str | None]
"""Emotions by label as `key_of` spells it; None leaves the images of a label out."""

EMOTIONS = frozenset(emotion for names in LABEL_SETS.values() for emotion in names)
"""Every emotion of a known label set."""

CODES: dict[str, Labels] = {
    name: {str(code): emotion for code, emotion in enumerate(LABEL_SETS[name], first)}
    for name, first in FIRST_CODES.items()
}
CODES["ckplus"] = {"0": "neutral", **CODES["ckplus"]}
CODES["affectnet"] = {**CODES["affectnet"], "8": None, "9": None, "10": None}  # none, uncertain, no face
"""Emotions by number, in the label sets that number theirs."""

_NUMBER = re.compile(r"0*(\d{1,6})(?:[.,]0*)?")
_ASSUMED = ("fer2013", "rafdb")
"""Sets whose numbers are recognised without being named: 0 to 6 and 1 to 7, all of them there."""


def key_of(text: str) -> str:
    """Spell a label as `Labels` has it: `3.0` and `03` are `3`, other text is in lower case.

    >>> key_of("3.0"), key_of(" Happy ")
    ('3', 'happy')
    """
    stripped = text.strip().lower()
    found = _NUMBER.fullmatch(stripped)
    return found[1] if found else stripped


def open_labels(given: str | Path | Mapping[Any, object]) -> Labels:
    """Read a label map: the name of a label set that has numbers, a YAML file or a mapping.

    >>> open_labels("rafdb")["4"]
    'happy'
    >>> open_labels({0: "Happiness", "blurred": None})
    {'0': 'happy', 'blurred': None}

    Raises:
        DataError: The file is missing, is not valid YAML, or maps a label to something else than a name.
        UnknownNameError: It is neither a file nor a known name.
    """
    fields: Mapping[Any, object]
    if isinstance(given, Mapping):
        fields = given
    elif str(given) in CODES:
        return CODES[str(given)]
    elif Path(given).suffix.lower() not in (".yaml", ".yml", ".json"):
        raise unknown_name("label order (or .yaml file)", str(given), CODES)
    else:
        try:
            fields = load_yaml(Path(given), numbered=True)
        except ValueError as error:
            raise DataError(str(error)) from error
    where = "labels" if isinstance(given, Mapping) else cut(str(given))
    labels = {}
    for label, emotion in fields.items():
        if not (emotion is None or (isinstance(emotion, str) and emotion.strip())):
            raise DataError(
                f"{where}: {bounded(label)} is mapped to {bounded(emotion)}; it must be an emotion, "
                "such as happy, or null to leave its images out."
            )
        labels[key_of(str(label))] = None if emotion is None else canonical(emotion)
    if len(set(labels.values()) - {None}) < 1:
        raise DataError(f"{where} maps no label to an emotion.")
    return labels


@dataclass(frozen=True)
class LabelMap:
    """Emotions of a data set's labels.

    Attributes:
        labels: Emotions by label.
        names: Emotions that may also be written as names, in any spelling; None allows every text.
    """

    labels: Labels
    names: Collection[str] | None = EMOTIONS

    def __getitem__(self, text: str) -> str | None:
        """Look up a label; None leaves its image out.

        Raises:
            DataError: The label is unknown.
        """
        key, name = key_of(text), canonical(text)
        for spelling in (key, name):
            if spelling in self.labels:
                return self.labels[spelling]
        if not key.isdecimal() and (self.names is None or name in self.names):
            return name
        known = [f"{label} ({emotion})" for label, emotion in self.labels.items() if emotion] or self.names
        raise DataError(f"the label {text[:40]!r} is not one of {', '.join(known or ())}.")

    def described(self, texts: Iterable[str]) -> str:
        """List the labels that are written differently from their emotions: `0 = angry, joy = happy`."""
        found = {}
        for text in sorted(set(texts), key=lambda text: (len(key_of(text)), text)):
            emotion = self[text]
            if text.strip().lower() != emotion:
                found[text.strip()] = emotion or "left out"
        return ", ".join(f"{text} = {emotion}" for text, emotion in list(found.items())[:30])


def understand(texts: Iterable[str], given: Labels | None = None) -> LabelMap:
    """Find out which emotions the labels of a data set mean.

    Numbers are FER2013's where they are exactly 0 to 6, and RAF-DB's where they are exactly 1 to 7.

    Args:
        texts: All labels, as they are written.
        given: A label map of the caller. Labels that it lacks must be names of emotions.

    Raises:
        DataError: The numbers have no known order, or a name is nearly that of an emotion.
    """
    if given is not None:
        return LabelMap(given)
    written = sorted(set(texts))
    numbers = {key_of(text) for text in written if key_of(text).isdecimal()}
    names = {canonical(text): text for text in written if not key_of(text).isdecimal()}
    for name, text in names.items():
        if name not in EMOTIONS and (near := difflib.get_close_matches(name, EMOTIONS, n=1, cutoff=0.85)):
            raise DataError(
                f"The label {text[:40]!r} is not an emotion; {near[0]!r} is. Rename it, or write the line "
                f"'{text[:40]}: {near[0]}' into a YAML file and pass it with --labels (labels=FILE)."
            )
    assumed = next((CODES[name] for name in _ASSUMED if CODES[name].keys() == numbers), {})
    if numbers and not assumed:
        shown = ", ".join(sorted(numbers, key=int)[:12])
        raise DataError(
            f"The labels are numbers of an unknown order: {shown}. Name it with --labels (labels=NAME): "
            f"{', '.join(CODES)}, or a YAML file with lines such as '0: angry'."
        )
    return LabelMap(assumed, names=None)


def order_of(found: Collection[str], wanted: Sequence[str] | None = None) -> tuple[str, ...]:
    """Order emotions: as wanted, else as in the first known label set with exactly these, else sorted.

    Raises:
        ValueError: An emotion is wanted twice.
    """
    if wanted is not None:
        names = tuple(canonical(name) for name in wanted)
        if len(set(names)) < len(names):
            raise ValueError(f"label_names has an emotion more than once: {', '.join(names)}.")
        return names
    known = (names for names in LABEL_SETS.values() if set(names) == set(found))
    return next(known, tuple(sorted(found)))


def relabel(data: FaceDataset, given: Labels) -> FaceDataset:
    """Exchange the labels of a data set by a map; labels that it lacks stay.

    Raises:
        DataError: No image is left.
    """
    new = [given.get(key_of(name), name) for name in data.label_names]
    names = order_of({name for name in new if name is not None})
    index = np.array([-1 if name is None else names.index(name) for name in new], dtype=np.int64)
    rows = index[data.labels] >= 0
    left_out = tuple((str(name), "its label is left out") for name in data.names[~rows])
    targets = data.targets
    if targets is not None:
        merged = np.zeros((len(data), len(names)), np.float32)
        for old, column in enumerate(index.tolist()):
            if column >= 0:
                merged[:, column] += targets[:, old]
        targets = merged[rows] / merged[rows].sum(1, keepdims=True)
    if not rows.any():
        raise DataError("labels leave no image: each label there is mapped to null.")
    kept = data.take(rows).relabelled(index[data.labels[rows]], names, targets=targets)
    return replace(kept, skipped=(*data.skipped, *left_out))
