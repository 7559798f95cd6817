"""Does a gain depend on the number of training images?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from fer_attention.study.statistics.checks import Interval, Numbers, between, numbers
from fer_attention.study.statistics.student import t_interval, t_test

Direction: TypeAlias = Literal["grows", "shrinks", "undecided"]


class Band(NamedTuple):
    """A fitted curve with its band, (N,) each; low and high are NaN where there is no spread to go by."""

    fit: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class SizeCurve:
    """A line of gains over log2 of the number of images; None where undefined.

    Attributes:
        n: Gains that were used.
        replications: Lines that were averaged; None where a single line was fitted to all gains.
        dropped: Replications with one size only, which have no line.
        slope: Change of the gain with each doubling.
        interval: Of the slope, Student's t.
        p: That it is zero, two-sided.
        df: Degrees of freedom of both.
        direction: `grows` or `shrinks` where p is below 1 - confidence, as the number of images grows.
        decided: Whether it is one of these.
        coefficients: Gain at one image, and slope.
        covariance: (2, 2), of the coefficients; None where undefined.
        confidence: Of the intervals.
    """

    n: int
    replications: int | None
    dropped: int
    slope: float
    interval: Interval | None
    p: float | None
    df: int
    direction: Direction
    decided: bool
    coefficients: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]] | None
    confidence: float

    def predict(self, sizes: ArrayLike) -> Band:
        """The mean gain at these numbers of images, with its pointwise confidence band.

        Raises:
            ValueError: A size that is not above 0.
        """
        places = _logarithms(sizes)
        basis = np.column_stack([np.ones_like(places), places])
        fit = basis @ np.array(self.coefficients)
        if self.covariance is None:
            unknown = np.full_like(fit, np.nan)
            return Band(fit, unknown, unknown.copy())
        variance = np.einsum("ni,ij,nj->n", basis, np.array(self.covariance), basis)
        half = stats.t.ppf((1 + self.confidence) / 2, self.df) * np.sqrt(np.maximum(variance, 0))
        return Band(fit, fit - half, fit + half)


def size_curve(
    sizes: ArrayLike,
    gains: ArrayLike,
    *,
    replications: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> SizeCurve:
    """Fit gains on log2 of the number of training images.

    With `replications`, gains that share a seed are not independent: a line is fitted to each replication by
    itself, and the mean of these lines is tested by Student's t over the replications (summary measures;
    Frison and Pocock 1992, doi 10.1002/sim.4780111304). That is exact for normal errors, however gains of one
    replication hang together, and it needs no large number of replications as cluster-robust errors do.
    Without, one line by least squares, for independent gains.

    Args:
        sizes: Training images of each gain, (N,).
        gains: (N,), such as differences of accuracy.
        replications: What each gain belongs to, such as its seed, (N,).
        confidence: Of the intervals.

    Raises:
        ValueError: Lengths that differ, sizes that are not above 0, or fewer than two different ones.
    """
    places, values = _logarithms(sizes), numbers(gains, "gains", least=2)
    between(confidence, "confidence")
    if len(places) != len(values):
        raise ValueError(f"{len(places)} sizes for {len(values)} gains, expected as many.")
    if not np.ptp(places):
        raise ValueError("All sizes are equal; a slope needs at least two.")
    if replications is None:
        fitted, used, dropped = _one_line(places, values), len(values), 0
        lines, df = None, used - 2
    else:
        fitted, used, dropped, count = _line_each(places, values, replications)
        lines, df = count, count - 1
    coefficients, covariance = fitted
    slope = float(coefficients[1])
    error = 0.0 if covariance is None else float(np.sqrt(max(covariance[1, 1], 0.0)))
    p = t_test(slope, error, df=df)
    decided = p is not None and p < 1 - confidence
    return SizeCurve(
        n=used,
        replications=lines,
        dropped=dropped,
        slope=slope,
        interval=t_interval(slope, error, df=df, confidence=confidence),
        p=p,
        df=df,
        direction="undecided" if not decided else "grows" if slope > 0 else "shrinks",
        decided=decided,
        coefficients=(float(coefficients[0]), slope),
        covariance=None if covariance is None else _nested(covariance),
        confidence=confidence,
    )


Fitted: TypeAlias = tuple[Numbers, Numbers | None]
"""Intercept and slope (2,), and their covariance (2, 2)."""


def _one_line(places: Numbers, values: Numbers) -> Fitted:
    basis = np.column_stack([np.ones_like(places), places])
    coefficients: Numbers = np.linalg.lstsq(basis, values, rcond=None)[0].astype(np.float64)
    df = len(values) - 2
    left = float(((values - basis @ coefficients) ** 2).sum())
    if df < 1 or left <= 1e-24 * max(1.0, float((values**2).sum())):
        return coefficients, None
    return coefficients, left / df * np.linalg.inv(basis.T @ basis)


def _line_each(
    places: Numbers, values: Numbers, replications: Sequence[Hashable]
) -> tuple[Fitted, int, int, int]:
    if len(replications) != len(values):
        raise ValueError(f"{len(replications)} replications for {len(values)} gains, expected as many.")
    members: dict[Hashable, list[int]] = {}
    for place, name in enumerate(replications):
        members.setdefault(name, []).append(place)
    with_line = [rows for rows in members.values() if np.ptp(places[rows])]
    if not with_line:
        raise ValueError(
            "Every replication has a single size; a slope needs two of at least one replication."
        )
    lines = np.array([_one_line(places[rows], values[rows])[0] for rows in with_line])
    used, dropped = sum(map(len, with_line)), len(members) - len(with_line)
    covariance: Numbers | None = None
    if len(lines) > 1 and np.ptp(np.round(lines[:, 1], 12)):
        covariance = np.asarray(np.cov(lines.T) / len(lines), dtype=np.float64)
    return (np.asarray(lines.mean(axis=0), dtype=np.float64), covariance), used, dropped, len(lines)


def _logarithms(sizes: ArrayLike) -> Numbers:
    images = numbers(sizes, "sizes")
    if images.min() <= 0:
        raise ValueError(f"sizes hold {images.min():g}, expected numbers above 0.")
    return np.asarray(np.log2(images))


def _nested(matrix: Numbers) -> tuple[tuple[float, float], tuple[float, float]]:
    (a, b), (c, d) = matrix.tolist()
    return (a, b), (c, d)
