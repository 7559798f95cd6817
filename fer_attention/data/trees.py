"""Trees of folders: which level names the split, and which the emotion."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fer_attention.data.labels import EMOTIONS, key_of
from fer_attention.data.records import DataError
from fer_attention.data.sources import Source
from fer_attention.data.splits import split_of
from fer_attention.emotions import canonical

LAYOUT = (
    "<emotion>/<image> or <split>/<emotion>/<image>, with the splits train, val, test, public, private or "
    "Training, PublicTest and the like, below any outer folder"
)
FEW = 0.1
"""Share of images at other depths that are errors of their own; with more, the layout is not known."""


@dataclass(frozen=True)
class Tree:
    """Roles of the levels of a tree, counted from its root.

    Attributes:
        depth: Number of folders above an image.
        label: Level of the emotions.
        split: Level of the splits, if there is one.
    """

    depth: int
    label: int
    split: int | None

    def place(self, name: str) -> tuple[str, str]:
        """Return the label, as its folder is written, and the split of an image.

        Raises:
            DataError: The image lies deeper or less deep than the others, or in no split.
        """
        *folders, _ = name.split("/")
        if len(folders) != self.depth:
            raise DataError(f"it is {len(folders)} folders deep; the others are {self.depth}.")
        if self.split is None:
            return folders[self.label], "all"
        if (split := split_of(folders[self.split])) is None:
            raise DataError(f"the folder {folders[self.split]!r} is not one of the splits.")
        return folders[self.label], split


def find_tree(source: Source) -> Tree:
    """Find out what the levels of a source's folders are.

    Folders above the splits and emotions, and between them, are passed over where there is one of each level.

    Raises:
        DataError: The images lie at several depths, or no level holds labels.
    """
    depths = Counter(name.count("/") for name in source.images())
    usual = [depth for depth in depths if depth]
    depth = max(usual, key=lambda depth: depths[depth], default=0)
    others = sum(depths[other] for other in usual if other != depth)
    examples = {name.count("/"): name for name in reversed(source.images())}
    found = ", ".join(examples[depth] for depth in sorted(examples)[:3]) or "no image"
    wrong = DataError(f"Expected images of {source.path} as {LAYOUT}, at one depth; there is {found}.")
    if not depth or others > FEW * depths[depth]:
        raise wrong
    below = [name.split("/")[:-1] for name in source.images() if name.count("/") == depth]
    levels = [Counter(column) for column in zip(*below, strict=True)]
    split = _best([sum(n for text, n in level.items() if split_of(text)) for level in levels])
    free = [number for number in range(depth) if number != split]
    if not free:
        raise wrong
    known = [sum(n for t, n in levels[number].items() if is_emotion(t)) for number in free]
    best = _best(known)
    label = free[-1] if best is None else free[best]
    for number in free:
        if number != label and len(levels[number]) > 1:
            several = ", ".join(sorted(levels[number])[:4])
            raise DataError(
                f"{source.path}: the folders {several} are neither splits nor emotions. Expected {LAYOUT}."
            )
    return Tree(depth, label, split)


def is_emotion(text: str) -> bool:
    """Return whether a folder is named after an emotion or a number."""
    return canonical(text) in EMOTIONS or key_of(text).isdecimal()


def _best(counts: list[int]) -> int | None:
    """Return the last of the levels with the highest count; None where all are 0."""
    return max(range(len(counts)), key=lambda number: (counts[number], number)) if any(counts) else None
