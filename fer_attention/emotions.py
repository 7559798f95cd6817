"""Label sets of public data sets in their published order, and maps between them."""

from __future__ import annotations

import re
from collections.abc import Sequence

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's seven in the order of its `emotion` column, 0 to 6 (Goodfellow et al. 2013)."""

FERPLUS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")
"""FER+'s eight in the order of its vote columns (Barsoum et al. 2016, arXiv:1608.01041)."""

CKPLUS = ("angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")
"""CK+'s seven posed emotions, codes 1 to 7 (Lucey et al. 2010); its code 0 is neutral."""

JAFFE = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""JAFFE's seven in alphabetical order (Lyons et al. 1998)."""

RAFDB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
"""RAF-DB's seven basic emotions, codes 1 to 7 of its list (Li et al. 2017, CVPR, 2584-2593)."""

AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
"""AffectNet's eight expressions, codes 0 to 7 (Mollahosseini et al. 2017, arXiv:1708.03985, table 4)."""

LABEL_SETS = {
    "fer2013": FER2013,
    "ferplus": FERPLUS,
    "ckplus": CKPLUS,
    "jaffe": JAFFE,
    "rafdb": RAFDB,
    "affectnet": AFFECTNET,
}

FIRST_CODES = {"fer2013": 0, "ferplus": 0, "ckplus": 1, "rafdb": 1, "affectnet": 0}
"""Number of the first label, in the sets that number theirs."""

_SPELLINGS = {
    "angry": "anger an angery anrgy agry angrey",  # codespell:ignore
    "contempt": "contemptuous comtempt contemp contemt",  # codespell:ignore
    "disgust": "disgusted disgusting di digust disguist disgus discust disgut",  # codespell:ignore
    "fear": "afraid fearful fearfull fe scared",  # codespell:ignore
    "happy": "happiness happines hapiness hapy happpy joy joyful ha",  # codespell:ignore
    "neutral": "ne nuetral netural neutrality neutal nutral natural",  # codespell:ignore
    "sad": "sadness sadnes saddness sa",  # codespell:ignore
    "surprise": "surprised su suprise suprised surprize surprized supprise suprize",  # codespell:ignore
}
SYNONYMS = {spelling: emotion for emotion, text in _SPELLINGS.items() for spelling in text.split()}
"""Other spellings: nouns and adjectives, frequent misspellings, and JAFFE's two-letter file codes."""

_NUMBERED = re.compile(r"\d+[\s_.-]+(?=[^\W\d])")


def canonical(label: str) -> str:
    """Return the library's spelling of an emotion; of an unknown label only case and number change.

    >>> canonical("Happiness"), canonical("HA"), canonical("Bored")
    ('happy', 'happy', 'bored')
    >>> canonical("0_Angry"), canonical("Digust")
    ('angry', 'disgust')
    """
    name = label.strip().lower()
    while found := _NUMBERED.match(name):
        name = name[found.end() :].strip()
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
