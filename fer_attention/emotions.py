"""Label sets of public data sets in their published order, and maps between them."""

from __future__ import annotations

from collections.abc import Sequence

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's seven in the order of its `emotion` column, 0 to 6 (Goodfellow et al. 2013)."""

FERPLUS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
"""FER+'s eight in the order of its vote columns (Barsoum et al. 2016, arXiv:1608.01041)."""

CKPLUS = ("angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")
"""CK+'s seven posed emotions, codes 1 to 7 (Lucey et al. 2010); its code 0 is neutral."""

JAFFE = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""JAFFE's seven in alphabetical order (Lyons et al. 1998)."""

LABEL_SETS = {"fer2013": FER2013, "ferplus": FERPLUS, "ckplus": CKPLUS, "jaffe": JAFFE}

SYNONYMS = {
    "anger": "angry",
    "an": "angry",
    "disgusted": "disgust",
    "di": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "fe": "fear",
    "happiness": "happy",
    "joy": "happy",
    "ha": "happy",
    "sadness": "sad",
    "sa": "sad",
    "surprised": "surprise",
    "su": "surprise",
    "ne": "neutral",
}
"""Other spellings: the nouns of FER+ and CK+, and JAFFE's two-letter file codes."""


def canonical(label: str) -> str:
    """Return the library's spelling of an emotion; an unknown label is only put in lower case.

    >>> canonical("Happiness"), canonical("HA"), canonical("Bored")
    ('happy', 'happy', 'bored')
    """
    name = label.strip().lower()
    return SYNONYMS.get(name, name)


def label_map(source: Sequence[str], target: Sequence[str]) -> dict[int, int | None]:
    """Map the index of each `source` label to its index in `target`, or None if `target` lacks the emotion.

    >>> label_map(CKPLUS, FER2013)[1] is None  # contempt
    True
    >>> label_map(CKPLUS, FER2013)[4] == FER2013.index("happy")
    True
    """
    index = {canonical(name): i for i, name in enumerate(target)}
    return {i: index.get(canonical(name)) for i, name in enumerate(source)}
