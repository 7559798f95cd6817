"""Two factors with replications as blocks: what each brings, and whether the gains add up."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from fer_attention.study.statistics.anova import Effect, MixedModel, effects, mixed_model
from fer_attention.study.statistics.checks import between
from fer_attention.study.statistics.design import read_design
from fer_attention.study.statistics.interactions import InteractionContrast, interaction_contrasts


@dataclass(frozen=True)
class FactorialAnalysis:
    """Analysis of variance and interaction contrasts.

    Attributes:
        first: Name of the first factor.
        second: Name of the second.
        runs: Values in all.
        blocks: Replications.
        dropped: Replications that lack a run. The analysis of variance uses their other runs; a contrast
            leaves those out that lack one of its four.
        anova: First, second, interaction; sums of squares of type II.
        mixed: The interaction by a mixed model.
        interactions: A contrast for each pair of levels besides the baselines.
        margin: Within which an interaction is too small to matter.
        confidence: Of the intervals; alpha is 1 - confidence.
    """

    first: str
    second: str
    runs: int
    blocks: int
    dropped: int
    anova: tuple[Effect, ...]
    mixed: MixedModel
    interactions: tuple[InteractionContrast, ...]
    margin: float
    confidence: float

    @property
    def mixed_text(self) -> str:
        """What the mixed model came to, in a sentence."""
        one = self.mixed
        if one.chi2 is None or one.p is None:
            return f"Mixed model with a random intercept for each block: no result, {one.failure}."
        shown = "< 0.001" if one.p < 0.001 else f"= {one.p:.3f}"
        return (
            "Mixed model with a random intercept for each block: interaction by Wald's test, chi-squared "
            f"{one.chi2:.2f}, df {one.df}, p {shown} (too small with few blocks)."
        )


def factorial_analysis(
    frame: pd.DataFrame,
    *,
    first: str,
    second: str,
    block: str = "replication",
    value: str = "value",
    margin: float = 0.005,
    confidence: float = 0.95,
) -> FactorialAnalysis:
    """Analyse two factors over matched replications, balanced or not.

    Args:
        frame: Long form, a row for each run. A factor's baseline is the first category of a categorical
            column, else the level that appears first.
        first: Column of a factor, such as attention.
        second: Column of the other, such as activation.
        block: Column of what runs of all conditions share: seed and fold.
        value: Column of what was measured, such as accuracy.
        margin: Interactions within plus and minus it are too small to matter, in the unit of the values.
        confidence: Of the intervals; tests are at 1 - confidence.

    Raises:
        ValueError: A missing column, a factor with one level, fewer than two blocks, a value that is not
            finite, two values of one run, a combination that never occurs, or too few runs.
    """
    between(confidence, "confidence", 0.5)
    design = read_design(frame, first=first, second=second, block=block, value=value)
    return FactorialAnalysis(
        first=first,
        second=second,
        runs=len(frame),
        blocks=len(design.blocks),
        dropped=design.incomplete,
        anova=effects(design, first=first, second=second, confidence=confidence),
        mixed=mixed_model(design),
        interactions=interaction_contrasts(design, margin=margin, confidence=confidence),
        margin=margin,
        confidence=confidence,
    )
