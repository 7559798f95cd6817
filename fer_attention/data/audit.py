"""Problems of a data set: copies across its splits, contradicting labels, blanks, people on two sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np

from fer_attention.data.duplicates import FLAT, NearPair, exact_groups, near_pairs, spreads
from fer_attention.data.records import FaceDataset
from fer_attention.data.splits import split_names


@dataclass(frozen=True, eq=False)
class DataAudit:
    """Findings of an audit. Rows are those of the audited data set.

    >>> images = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4)
    >>> images[3] = images[0]
    >>> splits = np.array(["train", "train", "train", "test"])
    >>> faces = FaceDataset(images, np.array([0, 0, 1, 1]), np.array(list("abcd")), splits, ("happy", "sad"))
    >>> found = audit(faces, near=False)
    >>> found.classes()
    {'train': {'happy': 2, 'sad': 1}, 'test': {'happy': 0, 'sad': 1}}
    >>> found.exact, found.copies(), found.conflicts()
    (((0, 3),), {('test', 'train'): 1, ('train', 'test'): 1}, [(0, 3)])

    Attributes:
        data: The set.
        exact: Groups of rows whose images are identical, pixel for pixel.
        near: Pairs that show the same photograph otherwise; None if they were not looked for.
        threshold: Least correlation of such a pair.
        blank: Rows whose pixels hardly differ.
        shared: For subjects and sequences, where the set names them, those that occur in more than one split.
    """

    data: FaceDataset
    exact: tuple[tuple[int, ...], ...]
    near: tuple[NearPair, ...] | None
    threshold: float
    blank: tuple[int, ...]
    shared: dict[str, tuple[str, ...]]

    @property
    def splits(self) -> list[str]:
        """Those that train, select and report in this order, then others by name."""
        return split_names(self.data)

    def classes(self) -> dict[str, dict[str, int]]:
        """Count the images of each split by class."""
        names, counts = self.data.label_names, {}
        for split in self.splits:
            found = np.bincount(self.data.labels[self.data.splits == split], minlength=len(names))
            counts[split] = dict(zip(names, found.tolist(), strict=True))
        return counts

    def copies(self) -> dict[tuple[str, str], int]:
        """Count, for splits (a, b), images of b identical to one of a; for a = b, the surplus ones."""
        counts: Counter[tuple[str, str]] = Counter()
        for group in self.exact:
            inside = Counter(self.data.splits[list(group)].tolist())
            for a, b in product(inside, repeat=2):
                counts[a, b] += inside[b] - (a == b)
        return {pair: count for pair, count in sorted(counts.items()) if count}

    def near_copies(self) -> dict[tuple[str, str], int]:
        """Count, for each two splits, the pairs of one photograph that are not identical."""
        order, splits = self.splits, self.data.splits
        found: Counter[tuple[str, str]] = Counter()
        for pair in self.near or ():
            a, b = sorted((str(splits[pair.first]), str(splits[pair.second])), key=order.index)
            found[a, b] += 1
        return {(a, b): found[a, b] for a in order for b in order if found[a, b]}

    def conflicts(self) -> list[tuple[int, ...]]:
        """Return groups of identical images with more than one label."""
        return [group for group in self.exact if len(set(self.data.labels[list(group)].tolist())) > 1]

    def near_conflicts(self) -> list[NearPair]:
        """Return the near pairs with two different labels."""
        labels = self.data.labels
        return [pair for pair in self.near or () if labels[pair.first] != labels[pair.second]]

    def to_dict(self) -> dict[str, Any]:
        """Return all findings for JSON, with images by name."""
        names, labels, conflicts = self.data.names, self.data.labels, self.conflicts()

        def image(row: int) -> dict[str, str]:
            label = self.data.label_names[labels[row]]
            return {"name": str(names[row]), "split": str(self.data.splits[row]), "label": label}

        def near_pair(pair: NearPair) -> dict[str, Any]:
            images = [image(pair.first), image(pair.second)]
            return {"images": images, "correlation": round(pair.correlation, 4), "mirrored": pair.mirrored}

        near = None
        if self.near is not None:
            near = {
                "threshold": self.threshold,
                "pairs": len(self.near),
                "by_split": _table(self.near_copies()),
                "conflicting_labels": len(self.near_conflicts()),
                "list": [near_pair(pair) for pair in self.near],
            }
        return {
            "images": len(self.data),
            "classes": self.classes(),
            "identical": {
                "groups": len(self.exact),
                "images_of_second_split_in_first": _table(self.copies()),
                "conflicting_labels": {"groups": len(conflicts), "images": sum(map(len, conflicts))},
                "list": [[image(row) for row in group] for group in self.exact],
            },
            "near": near,
            "blank": [image(row) for row in self.blank],
            "in_several_splits": {what: list(values) for what, values in self.shared.items()},
            "skipped": [{"name": name, "reason": reason} for name, reason in self.data.skipped],
        }


def audit(
    data: FaceDataset,
    *,
    near: bool = True,
    threshold: float = 0.95,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> DataAudit:
    """Search a data set for copies across splits, contradicting labels, blank images and shared subjects.

    >>> images = np.random.default_rng(0).integers(0, 256, (3, 24, 24), dtype=np.uint8)
    >>> images[2] = images[0, :, ::-1]  # mirrored
    >>> names, splits = np.array(list("abc")), np.array(["train", "train", "test"])
    >>> [pair] = audit(FaceDataset(images, np.zeros(3, dtype=np.int64), names, splits, ("happy",))).near
    >>> pair.first, pair.second, pair.mirrored
    (0, 2, True)

    Args:
        data: The set, in memory or on the disk.
        near: Whether to look for the same photograph in other pixels too: every image against every other.
        threshold: Least correlation of two such images; `duplicates.near_pairs` says how it was chosen.
        on_progress: Called with blocks done and blocks in all, while near pairs are looked for.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a correlation above 0 and at most 1, got {threshold}.")
    pairs = near_pairs(data.images, threshold=threshold, on_progress=on_progress) if near else None
    columns = {"subjects": data.subjects, "sequences": data.sequences}
    return DataAudit(
        data=data,
        exact=tuple(tuple(group) for group in exact_groups(data.images)),
        near=None if pairs is None else tuple(pairs),
        threshold=threshold,
        blank=tuple((spreads(data.images) < FLAT).nonzero()[0].tolist()),
        shared={what: _on_both_sides(c, data) for what, c in columns.items() if c is not None},
    )


def _on_both_sides(column: Iterable[Any], data: FaceDataset) -> tuple[str, ...]:
    values = np.asarray(column)
    inside = {split: set(values[data.splits == split].tolist()) for split in set(data.splits.tolist())}
    both = set().union(*(inside[a] & inside[b] for a, b in combinations(inside, 2)))
    return tuple(sorted(both))


def _table(counts: dict[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = {}
    for (a, b), count in counts.items():
        rows.setdefault(a, {})[b] = count
    return rows
