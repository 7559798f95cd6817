"""Two models on the same test images: is the difference more than the choice of images?

It says nothing of other seeds: two runs of one recipe also differ. For a method, see `paired`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats import contingency_tables

from fer_attention.evaluation.accuracy import wilson_interval
from fer_attention.study.statistics.bootstrap import percentile_interval
from fer_attention.study.statistics.checks import Interval, Numbers, answers, at_least, between

EXACT_BELOW = 25
"""Fewer images on which just one model is right, and the exact test is taken."""


@dataclass(frozen=True)
class McNemar:
    """Two models' answers to the same images.

    Attributes:
        n: Images.
        both: Right by both.
        only_a: Right by a alone, b in McNemar's table.
        only_b: Right by b alone, c in McNemar's table.
        neither: Wrong by both.
        difference: Accuracy of a minus that of b.
        interval: Of the difference, Newcombe's method 10.
        confidence: Of the interval.
        p: Two-sided.
        method: How p was found.
    """

    n: int
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    interval: Interval
    confidence: float
    p: float
    method: Literal["exact binomial", "chi-squared with continuity correction"]


@dataclass(frozen=True)
class PairedBootstrap:
    """The difference of two accuracies over resampled images, or resampled groups of them.

    Attributes:
        n: Images.
        groups: Groups that were resampled whole; None where images were resampled.
        difference: Accuracy of a minus that of b.
        interval: Percentile bootstrap interval.
        standard_error: Standard deviation of the resampled differences.
        confidence: Of the interval.
    """

    n: int
    groups: int | None
    difference: float
    interval: Interval
    standard_error: float
    confidence: float


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike, *, confidence: float = 0.95) -> McNemar:
    """McNemar's test (1947) and an interval for the difference of accuracies.

    Exact binomial where fewer than 25 images set the models apart, else chi-squared with Edwards' continuity
    correction; both reject less often than alpha. p is 1 where no image sets them apart.

    Args:
        correct_a: (N,), true where model a is right.
        correct_b: The same of model b, on the same images in the same order.
        confidence: Of the interval.

    Raises:
        ValueError: Unequal lengths, no images, or values that are neither right nor wrong.
    """
    a, b = _same_images(correct_a, correct_b)
    between(confidence, "confidence")
    both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum())
    neither = len(a) - both - only_a - only_b
    exact = only_a + only_b < EXACT_BELOW
    found = contingency_tables.mcnemar([[both, only_a], [only_b, neither]], exact=exact, correction=True)
    return McNemar(
        n=len(a),
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        difference=(only_a - only_b) / len(a),
        interval=paired_proportions_interval(both, only_a, only_b, neither, confidence=confidence),
        confidence=confidence,
        p=min(1.0, float(found.pvalue)),
        method="exact binomial" if exact else "chi-squared with continuity correction",
    )


def paired_proportions_interval(
    both: int, only_a: int, only_b: int, neither: int, *, confidence: float = 0.95
) -> Interval:
    """Interval for a difference of paired proportions (Newcombe 1998, Stat Med 17:2635-2650, method 10).

    Wilson's intervals of the two proportions, joined with the correlation phi of the table, whose numerator
    is corrected for continuity where it is positive.

    Args:
        both: Count of successes in both.
        only_a: In a alone.
        only_b: In b alone.
        neither: In none.
        confidence: Of the interval.
    """
    n = both + only_a + only_b + neither
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson_interval(both + only_a, n, z=z)
    low_b, high_b = wilson_interval(both + only_b, n, z=z)
    product = both * neither - only_a * only_b
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    corrected = max(product - n / 2, 0) if product > 0 else product
    phi = corrected / math.sqrt(margins) if margins else 0.0

    def joined(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))

    difference = share_a - share_b
    low = difference - joined(share_a - low_a, high_b - share_b)
    return low, difference + joined(high_a - share_a, share_b - low_b)


def paired_bootstrap(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedBootstrap:
    """Resample the test images and take the difference of accuracies each time.

    Images of one subject are alike, and models err on them together. With `groups`, whole subjects are drawn
    (cluster bootstrap; Davison and Hinkley 1997, section 3.8), so that a drawn set holds more or fewer images
    and their share is taken. With fewer than about 20 groups such intervals are too narrow.

    Args:
        correct_a: (N,), true where model a is right.
        correct_b: The same of model b, on the same images in the same order.
        groups: (N,), the subject of each image, or another name for what belongs together.
        confidence: Of the interval.
        resamples: How many.
        seed: Of the draws.

    Raises:
        ValueError: Unequal lengths, no images, values that are neither right nor wrong, or a single group.
    """
    a, b = _same_images(correct_a, correct_b)
    between(confidence, "confidence")
    at_least(resamples, "resamples", 1)
    rng = np.random.default_rng(seed)
    scores = a.astype(np.int64) - b.astype(np.int64)
    if groups is None:
        drawn, count = _by_image(scores, resamples, rng), None
    else:
        drawn, count = _by_group(scores, np.asarray(groups), resamples, rng)
    return PairedBootstrap(
        n=len(a),
        groups=count,
        difference=float(scores.mean()),
        interval=percentile_interval(drawn, confidence),
        standard_error=float(drawn.std(ddof=1)) if resamples > 1 else 0.0,
        confidence=confidence,
    )


def _same_images(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = answers(correct_a, "correct_a"), answers(correct_b, "correct_b")
    if len(a) != len(b):
        raise ValueError(f"correct_a is of {len(a)} images and correct_b of {len(b)}, expected the same.")
    return a, b


def _by_image(scores: NDArray[np.int64], resamples: int, rng: np.random.Generator) -> Numbers:
    """A score is 1, 0 or -1, so a resample is how many there are of each."""
    n = len(scores)
    counts = np.array([(scores == 1).sum(), (scores == 0).sum(), (scores == -1).sum()])
    drawn = rng.multinomial(n, counts / n, size=resamples)
    return np.asarray((drawn[:, 0] - drawn[:, 2]) / n, dtype=np.float64)


def _by_group(
    scores: NDArray[np.int64], groups: NDArray[np.generic], resamples: int, rng: np.random.Generator
) -> tuple[Numbers, int]:
    if groups.shape != scores.shape:
        raise ValueError(f"groups have shape {groups.shape}, expected one for each image, {scores.shape}.")
    names, where = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError("All images are of one group; resampling groups needs at least 2. Leave groups out?")
    sums = np.bincount(where, weights=scores)
    sizes = np.bincount(where).astype(np.float64)
    step = max(1, 1_000_000 // len(names))  # so that thousands of groups do not fill the memory
    parts = []
    for start in range(0, resamples, step):
        drawn = rng.integers(len(names), size=(min(step, resamples - start), len(names)))
        parts.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(parts), len(names)
