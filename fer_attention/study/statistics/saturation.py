"""How accuracy itself grows with the number of training images: a power law that saturates."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from fer_attention.study.statistics.checks import Numbers, numbers

LEAST = 4
"""Different sizes that three parameters need at least."""


@dataclass(frozen=True)
class AccuracyCurve:
    """accuracy = asymptote - scale * size^-exponent; parameters are None where the fit failed.

    Errors come from the curvature at the optimum: rough with few sizes, and None where a parameter ended at a
    bound, since the accuracies do not determine it then.

    Attributes:
        n: Accuracies.
        asymptote: What accuracy tends to, in [0, 1].
        scale: What it lacks at one image.
        exponent: How fast it gets there.
        errors: Standard errors of the three.
        residual: Root mean square of what the curve leaves.
        failure: Why there is no curve, or no errors, in words; empty where all is well.
    """

    n: int
    asymptote: float | None
    scale: float | None
    exponent: float | None
    errors: tuple[float, float, float] | None
    residual: float | None
    failure: str

    def predict(self, sizes: ArrayLike) -> Numbers:
        """Accuracies at these numbers of images, (N,).

        Raises:
            ValueError: There is no curve, or a size is not above 0.
        """
        if self.asymptote is None or self.scale is None or self.exponent is None:
            raise ValueError(f"There is no curve to predict from: {self.failure}.")
        images = _above_zero(sizes)
        return np.asarray(self.asymptote - self.scale * images**-self.exponent)


def accuracy_curve(sizes: ArrayLike, accuracies: ArrayLike) -> AccuracyCurve:
    """Fit a - b n^-c by least squares, 0 <= a <= 1, b >= 0, 0 < c <= 3 (Cortes et al. 1993, NIPS 6).

    Args:
        sizes: Training images, (N,), with at least four different ones.
        accuracies: Shares in [0, 1], (N,).

    Raises:
        ValueError: Lengths that differ, fewer sizes, a size of 0 or less, or values that are no shares.
    """
    images, shares = _above_zero(sizes), numbers(accuracies, "accuracies")
    if len(images) != len(shares):
        raise ValueError(f"{len(images)} sizes for {len(shares)} accuracies, expected as many.")
    if (different := len(np.unique(images))) < LEAST:
        raise ValueError(f"{different} different size(s), expected at least {LEAST}.")
    if shares.min() < 0 or shares.max() > 1:
        raise ValueError(
            f"accuracies reach from {shares.min():g} to {shares.max():g}, expected shares in [0, 1]."
        )
    least = float(images.min())
    start = (min(1.0, float(shares.max()) + 0.02), max(1e-3, float(np.ptp(shares))), 0.5)
    bounds = ((0.0, 0.0, 1e-6), (1.0, 10.0, 3.0))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optimize.OptimizeWarning)  # said in `failure`
            found, covariance = optimize.curve_fit(
                _curve, images / least, shares, p0=start, bounds=bounds, max_nfev=5000
            )
    except (RuntimeError, ValueError) as error:
        return AccuracyCurve(len(shares), None, None, None, None, None, f"the fit failed: {error}")
    asymptote, drop, exponent = map(float, found)
    turned = np.diag([1.0, least**exponent, 1.0])  # from sizes in units of the smallest to images
    turned[1, 2] = drop * least**exponent * np.log(least)
    errors = np.sqrt(np.maximum(np.diag(turned @ covariance @ turned.T), 0))
    free = np.all((found > np.array(bounds[0]) + 1e-5) & (found < np.array(bounds[1]) - 1e-5))
    sure = bool(free and np.isfinite(errors).all())
    left = shares - _curve(images / least, *found)
    return AccuracyCurve(
        n=len(shares),
        asymptote=asymptote,
        scale=drop * least**exponent,
        exponent=exponent,
        errors=(float(errors[0]), float(errors[1]), float(errors[2])) if sure else None,
        residual=float(np.sqrt((left**2).mean())),
        failure="" if sure else "these sizes do not determine all three parameters",
    )


def _curve(relative: Numbers, asymptote: float, drop: float, exponent: float) -> Numbers:
    return np.asarray(asymptote - drop * relative**-exponent)


def _above_zero(sizes: ArrayLike) -> Numbers:
    images = numbers(sizes, "sizes")
    if images.min() <= 0:
        raise ValueError(f"sizes hold {images.min():g}, expected numbers above 0.")
    return images
