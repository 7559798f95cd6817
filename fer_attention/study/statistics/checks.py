"""What the statistics take: finite numbers in one dimension, shares and sensible counts."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers: TypeAlias = NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]

DECIMALS = 12
"""Differences are rounded to so many: 0.61 - 0.60 and 0.62 - 0.61 differ in binary, but not as accuracies."""


def numbers(values: ArrayLike, name: str, *, least: int = 1) -> Numbers:
    """Finite float64 (N,) with N >= least.

    Raises:
        ValueError: Another shape, fewer values, or one that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}, expected (N,).")
    if len(array) < least:
        raise ValueError(f"{name} has {len(array)} value(s), expected at least {least}.")
    if not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{place}] is {array[place]}, expected finite numbers.")
    return array


def pairs(a: ArrayLike, b: ArrayLike, *, least: int = 2) -> tuple[Numbers, Numbers]:
    """Two arrays of matched replications, (N,) each.

    Raises:
        ValueError: They differ in length, or `numbers` refuses one.
    """
    first, second = numbers(a, "a", least=least), numbers(b, "b", least=least)
    if len(first) != len(second):
        raise ValueError(f"a has {len(first)} values and b {len(second)}: pairs need as many of both.")
    return first, second


def answers(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    """Right answers of a model, (N,); zeros and ones are taken for booleans.

    Raises:
        ValueError: Another shape, none at all, or values besides 0 and 1.
    """
    array = np.asarray(values)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {array.shape}, expected (N,) with N > 0.")
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} holds {array.dtype} values besides 0 and 1, expected right or wrong.")
    return array.astype(np.bool_)


def rounded(differences: Numbers) -> Numbers:
    """Without the noise of binary fractions, so that equal differences are equal and ties are ties."""
    return np.round(differences, DECIMALS) + 0.0  # no negative zeros


def spread(values: Numbers) -> float:
    """Standard deviation with n - 1; exactly 0 where all values are equal, which their mean may hide."""
    return float(values.std(ddof=1)) if np.ptp(values) else 0.0


def between(value: float, name: str, low: float = 0.0, high: float = 1.0) -> None:
    """Refuse a number outside the open interval.

    Raises:
        ValueError: It is outside, or NaN.
    """
    if not low < value < high:
        raise ValueError(f"{name} is {value}, expected a number between {low:g} and {high:g}.")


def at_least(value: float, name: str, low: float) -> None:
    """Refuse a smaller number, an infinite one and NaN.

    Raises:
        ValueError: It is one of these.
    """
    if not (np.isfinite(value) and value >= low):
        raise ValueError(f"{name} is {value}, expected {low:g} or more.")


def plain(value: Any) -> Any:
    """A NumPy scalar as Python's own, anything else as it is: for records that are written as JSON."""
    return value.item() if isinstance(value, np.generic) else value
