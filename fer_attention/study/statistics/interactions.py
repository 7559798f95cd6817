"""Do two gains add up? Differences of differences over blocks, with a verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from fer_attention.study.statistics.checks import Interval, Numbers, between, rounded, spread
from fer_attention.study.statistics.design import Design
from fer_attention.study.statistics.multiplicity import holm
from fer_attention.study.statistics.power import replications_needed
from fer_attention.study.statistics.student import equivalence_test, standard_error, t_interval, t_test

Verdict: TypeAlias = Literal["synergistic", "antagonistic", "additive", "undecided"]


@dataclass(frozen=True)
class InteractionContrast:
    """[(A, B) - (A, base B)] - [(base A, B) - (base A, base B)] over blocks; None where undefined.

    Attributes:
        first: Level A of the first factor.
        second: Level B of the second.
        first_baseline: What A is compared with.
        second_baseline: What B is compared with.
        n: Blocks that have all four runs.
        dropped: Blocks that have not, and are left out.
        mean: What both levels gain beyond the sum of their gains; None without blocks.
        sd: Standard deviation over blocks; None for fewer than two.
        interval: Student's t.
        p: That it is zero, two-sided.
        p_holm: Adjusted over all contrasts of the analysis.
        equivalence_interval: The (1 - 2 alpha) interval that the verdict `additive` goes by.
        p_equivalence: Of two one-sided tests that it is within the margin (Schuirmann 1987).
        verdict: `synergistic` or `antagonistic`: interval above or below 0, and p_holm below alpha.
            If neither, `additive`: the (1 - 2 alpha) interval is within plus and minus the margin. Else
            `undecided`.
        replications_to_decide: Blocks with which an interaction as large as the margin is seen, with 80 %
            power; None if unknown or above 10,000.
        replications_for_observed: The same for one as large as seen.
    """

    first: Any
    second: Any
    first_baseline: Any
    second_baseline: Any
    n: int
    dropped: int
    mean: float | None
    sd: float | None
    interval: Interval | None
    p: float | None
    p_holm: float | None
    equivalence_interval: Interval | None
    p_equivalence: float | None
    verdict: Verdict
    replications_to_decide: int | None
    replications_for_observed: int | None


def interaction_contrasts(
    design: Design, *, margin: float, confidence: float = 0.95
) -> tuple[InteractionContrast, ...]:
    """A contrast for every level of the first factor and every one of the second, but for the baselines.

    Equivalence is not corrected for the number of contrasts: the chance that `additive` is wrong is alpha at
    most for each. `synergistic` and `antagonistic` are, by Holm.

    Raises:
        ValueError: A margin that is not positive, or a confidence outside (0.5, 1).
    """
    between(margin, "margin", high=np.inf)
    between(confidence, "confidence", 0.5)
    made = [
        _contrast(design, one, two, margin=margin, confidence=confidence)
        for one in range(1, len(design.first))
        for two in range(1, len(design.second))
    ]
    adjusted = holm([contrast.p for contrast in made])
    return tuple(
        replace(contrast, p_holm=p, verdict=_verdict(replace(contrast, p_holm=p), confidence=confidence))
        for contrast, p in zip(made, adjusted, strict=True)
    )


def differences_of_differences(table: Numbers, first: int, second: int) -> Numbers:
    """What a cell has beyond the sum of both gains, for each block of (blocks, first, second)."""
    gained = table[:, first, second] - table[:, first, 0]
    return np.asarray(gained - (table[:, 0, second] - table[:, 0, 0]))


def _contrast(design: Design, one: int, two: int, *, margin: float, confidence: float) -> InteractionContrast:
    found = differences_of_differences(design.table, one, two)
    values = rounded(found[~np.isnan(found)])
    n, alpha = len(values), 1 - confidence
    mean = float(values.mean()) if n else None
    sd = spread(values) if n > 1 else None
    centre, error, df = mean or 0.0, standard_error(sd or 0.0, max(n, 1)), n - 1
    known = bool(sd)
    return InteractionContrast(
        first=design.first[one],
        second=design.second[two],
        first_baseline=design.first[0],
        second_baseline=design.second[0],
        n=n,
        dropped=len(found) - n,
        mean=mean,
        sd=sd,
        interval=t_interval(centre, error, df=df, confidence=confidence),
        p=t_test(centre, error, df=df),
        p_holm=None,
        equivalence_interval=t_interval(centre, error, df=df, confidence=1 - 2 * alpha),
        p_equivalence=equivalence_test(centre, error, df=df, margin=margin),
        verdict="undecided",
        replications_to_decide=replications_needed(sd, margin, alpha=alpha) if known and sd else None,
        replications_for_observed=replications_needed(sd, centre, alpha=alpha) if known and sd else None,
    )


def _verdict(contrast: InteractionContrast, *, confidence: float) -> Verdict:
    alpha = 1 - confidence
    if contrast.interval is None or contrast.p_holm is None or contrast.p_equivalence is None:
        return "undecided"
    low, high = contrast.interval
    if contrast.p_holm < alpha and (low > 0 or high < 0):
        return "synergistic" if low > 0 else "antagonistic"
    return "additive" if contrast.p_equivalence < alpha else "undecided"
