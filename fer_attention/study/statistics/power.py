"""How many replications a paired t-test needs, and what it can see.

All of it is two-sided, for normally distributed differences whose standard deviation is known. That of three
to five runs is itself known within a factor of two or so, and with it the answers here.
"""

from __future__ import annotations

import math

from scipy import optimize, stats
from statsmodels.stats.power import TTestPower

from fer_attention.study.statistics.checks import at_least, between


def achieved_power(sd: float, effect: float, n: int, *, alpha: float = 0.05) -> float | None:
    """The chance that a paired t-test over n pairs is significant, where the true difference is `effect`.

    Args:
        sd: Standard deviation of the differences. Where it is 0, any effect is seen.
        effect: True mean difference, in the unit of sd; its sign is of no importance.
        n: Pairs.
        alpha: Level of the test.

    Returns:
        A share; None for fewer than two pairs, which have no test.

    Raises:
        ValueError: A negative or infinite number, or an alpha outside (0, 1).
    """
    _check(sd, alpha)
    at_least(abs(effect), "the size of effect", 0)
    at_least(n, "n", 0)
    if n < 2:
        return None
    if sd == 0:
        return alpha if effect == 0 else 1.0
    return _power(abs(effect) / sd, n, alpha)


def replications_needed(
    sd: float, effect: float, *, power: float = 0.8, alpha: float = 0.05, maximum: int = 10_000
) -> int | None:
    """The least number of pairs with which a paired t-test sees a true difference of `effect`.

    >>> replications_needed(0.01, 0.005)
    34

    Args:
        sd: Standard deviation of the differences.
        effect: True mean difference, in the unit of sd; its sign is of no importance.
        power: Chance of seeing it.
        alpha: Level of the test.
        maximum: Where to stop looking.

    Returns:
        At least 2, the least with a test; None for more than `maximum`, as for an effect of 0.

    Raises:
        ValueError: A negative or infinite number, or a share outside (0, 1).
    """
    between(power, "power")
    at_least(maximum, "maximum", 2)

    def enough(n: int) -> bool:
        return (achieved_power(sd, effect, n, alpha=alpha) or 0.0) >= power

    if effect == 0 or not enough(maximum):
        return None
    n = _normal_guess(sd, effect, power=power, alpha=alpha, maximum=maximum)
    while not enough(n):
        n += 1
    while n > 2 and enough(n - 1):
        n -= 1
    return n


def detectable_effect(sd: float, n: int, *, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The true difference that a paired t-test over n pairs sees with the chance `power`.

    Args:
        sd: Standard deviation of the differences. Where it is 0, so is the answer.
        n: Pairs.
        power: Chance of seeing it; above alpha.
        alpha: Level of the test.

    Returns:
        In the unit of sd; None for fewer than two pairs, which have no test.

    Raises:
        ValueError: A negative or infinite number, or a share outside (0, 1).
    """
    _check(sd, alpha)
    between(power, "power", alpha)
    at_least(n, "n", 0)
    if n < 2:
        return None
    if sd == 0:
        return 0.0
    high = 1.0
    while _power(high, n, alpha) < power:
        high *= 2
    return sd * float(optimize.brentq(lambda size: _power(size, n, alpha) - power, 0.0, high, xtol=1e-10))


def _normal_guess(sd: float, effect: float, *, power: float, alpha: float, maximum: int) -> int:
    """What the normal distribution needs, and two more: off by a few at most, so that few are tried."""
    reach = float(stats.norm.isf(alpha / 2) + stats.norm.ppf(power))
    return max(2, math.ceil(min(float(maximum), (max(reach, 0.0) * sd / abs(effect)) ** 2 + 2)))


def _power(size: float, n: int, alpha: float) -> float:
    """Of an effect in standard deviations."""
    test = TTestPower()
    both = float(test.power(size, n, alpha, df=n - 1, alternative="two-sided"))
    if math.isfinite(both):
        return min(1.0, both)
    # scipy loses the tail on the other side where it is below 1e-15; without it nothing is missing.
    upper = float(test.power(size, n, alpha / 2, df=n - 1, alternative="larger"))
    if math.isfinite(upper):
        return min(1.0, upper)
    # So far out, only the chance in the measured sd is left.
    reach = math.sqrt(n) * size / float(stats.t.isf(alpha / 2, n - 1))
    return float(stats.chi2.cdf((n - 1) * reach**2, n - 1))


def _check(sd: float, alpha: float) -> None:
    at_least(sd, "sd", 0)
    between(alpha, "alpha")
