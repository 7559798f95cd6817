"""A sentence made of numbers, and the numbers that it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fer_attention.study.report.wording import Filler


@dataclass(frozen=True)
class Sentence:
    """A statement of the report.

    Attributes:
        topic: What it is about.
        text: What it says.
        numbers: Every number that it prints, in full, by its name.
        names: Every name that it prints: labels, levels, data sets.
    """

    topic: str
    text: str
    numbers: Mapping[str, float]
    names: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {"topic": self.topic, "text": self.text, "numbers": dict(self.numbers)}


def say(topic: str, template: str, **values: float | str) -> Sentence:
    """A sentence from a template; a number's form stands behind its colon (see `wording.FORMS`).

    >>> say("gain", "{level} gains {gain:points} points.", level="eca", gain=0.01234)
    Sentence(topic='gain', text='eca gains +1.23 points.', numbers={'gain': 0.01234}, names={'level': 'eca'})
    """
    filler = Filler()
    text = filler.vformat(template, (), values)
    return Sentence(topic, text, filler.numbers, filler.names)


def plural(number: int, noun: str) -> str:
    """The noun for so many.

    >>> plural(1, "seed"), plural(2, "seed")
    ('seed', 'seeds')
    """
    return noun if number == 1 else f"{noun}s"


def be(number: int) -> str:
    """The verb for so many.

    >>> be(1), be(2)
    ('is', 'are')
    """
    return "is" if number == 1 else "are"


def ranged(name: str, numbers: Sequence[int]) -> tuple[str, dict[str, float | str]]:
    """A template for one count, or for the least and the largest, and its values.

    >>> ranged("images", [7, 9, 7])
    ('{images_low:n} to {images_high:n}', {'images_low': 7, 'images_high': 9})
    """
    low, high = min(numbers), max(numbers)
    if low == high:
        return f"{{{name}:n}}", {name: low}
    return f"{{{name}_low:n}} to {{{name}_high:n}}", {f"{name}_low": low, f"{name}_high": high}
