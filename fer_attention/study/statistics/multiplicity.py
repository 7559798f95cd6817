"""Many tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted so that the chance of even one false rejection stays at alpha (Holm 1979).

    A test that is undefined (None) stays None, and stays in the family as if its p were 1: results that are
    missing never make the others more significant.

    >>> holm([0.01, 0.04, None])
    [0.03, 0.08, None]

    Args:
        p_values: Of one family of tests.

    Returns:
        Adjusted p-values, in the same order.

    Raises:
        ValueError: A p-value is NaN or outside [0, 1].
    """
    for place, p in enumerate(p_values):
        if p is not None and not 0 <= p <= 1:
            raise ValueError(f"p_values[{place}] is {p}, expected a number in [0, 1] or None.")
    family = np.array([1.0 if p is None else p for p in p_values])
    order = np.argsort(family, kind="stable")
    steps = np.maximum.accumulate(family[order] * np.arange(len(family), 0, -1))
    adjusted = np.empty_like(family)
    adjusted[order] = np.minimum(steps, 1.0)
    return [None if p is None else float(new) for p, new in zip(p_values, adjusted, strict=True)]
