"""What a study comes to: plain records, made by `analysis.py`, shown by `report/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fer_attention.study.config import Interaction, Level, StudyConfig
from fer_attention.study.records import DataFacts, RunRecord, SetAside

if TYPE_CHECKING:  # statistics load scipy and statsmodels, which whoever only runs studies can do without
    from fer_attention.study.statistics import (
        CorrectedTTest,
        FactorialAnalysis,
        Friedman,
        McNemar,
        Outperforming,
        PairedComparison,
        SizeCurve,
    )


@dataclass(frozen=True)
class Summary:
    """Mean over runs.

    Attributes:
        n: Runs.
        mean: Their mean.
        sd: Their standard deviation; None of one run.
        low: Lower end of the t interval for the mean, at least 0; None of one run.
        high: Upper end, at most 1.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ConditionResult:
    """One combination of levels, over its replications.

    Attributes:
        factors: The level of every factor.
        label: Short, of the factors that vary in this study: `cbam, elu`.
        model: Name of the model.
        runs: Its finished runs, by seed and fold.
        planned: How many were planned.
        accuracy: On the test images.
        accuracy_new: Without copies of training images; None where there are none.
        balanced_accuracy: On the test images.
        macro_f1: On the test images.
        calibration_error: On the test images.
        validation_accuracy: On the images that selected the epochs.
        parameters: Of the model.
        macs: For one image.
        paper_parameters: By the paper's way of counting; None for blocks and structures that it has not.
        train_seconds: Of a run, median.
        images_per_second: Of training, median.
        latency_ms: Of one image, median.
        peak_memory_mb: Of the GPU, largest; None on a CPU.
        bias_shift: Mean over the layers of |mean activation|, by layer and run averaged; None if unmeasured.
        published: The paper's accuracy for this model on this data; None where it has none.
        data: Facts about the images, of the first run.
    """

    factors: Mapping[str, Level]
    label: str
    model: str
    runs: tuple[RunRecord, ...]
    planned: int
    accuracy: Summary
    accuracy_new: Summary | None
    balanced_accuracy: Summary
    macro_f1: Summary
    calibration_error: Summary
    validation_accuracy: Summary
    parameters: int
    macs: int
    paper_parameters: int | None
    train_seconds: float
    images_per_second: float
    latency_ms: float
    peak_memory_mb: float | None
    bias_shift: float | None
    published: float | None
    data: DataFacts


@dataclass(frozen=True)
class ImageTest:
    """Two conditions' answers to the same test images, in one replication."""

    seed: int
    fold: int
    test: McNemar


@dataclass(frozen=True)
class ComparisonResult:
    """A level against its baseline, with all other factors equal.

    Attributes:
        factor: What is compared.
        level: Compared level.
        baseline: Its baseline.
        within: Levels of the other factors that vary; empty where it is the mean over all of them.
        label: `cbam - none, elu`.
        paired: Over replications. For several folds of one set, see `corrected`.
        corrected: For overlapping training sets: the corrected resampled t-test; None with one fold.
        outperforming: How often the level is ahead.
        p_holm: Adjusted over the family, by the corrected test where there is one; None if undefined.
        decided: Whether p_holm is below the study's alpha.
        replications_needed: To see a difference of the study's margin with 80 % power; None if unknown.
        images: Over test images, one test for each replication.
        unpaired: Runs that lack their partner and are left out.
    """

    factor: str
    level: Level
    baseline: Level
    within: Mapping[str, Level]
    label: str
    paired: PairedComparison
    corrected: CorrectedTTest | None
    outperforming: Outperforming
    p_holm: float | None
    decided: bool
    replications_needed: int | None
    images: tuple[ImageTest, ...]
    unpaired: int


@dataclass(frozen=True)
class Family:
    """Comparisons that are corrected together.

    Attributes:
        factor: What they compare.
        baseline: The common baseline.
        pooled: One for each level, over the mean of all other factors.
        single: One for each level and combination of the other factors.
    """

    factor: str
    baseline: Level
    pooled: tuple[ComparisonResult, ...]
    single: tuple[ComparisonResult, ...]


@dataclass(frozen=True)
class InteractionResult:
    """Whether two factors' gains add up, within each combination of the others."""

    question: Interaction
    within: Mapping[str, Level]
    analysis: FactorialAnalysis


@dataclass(frozen=True)
class SizeResult:
    """A level's gain over its baseline against the number of training images."""

    factor: str
    level: Level
    baseline: Level
    within: Mapping[str, Level]
    images: tuple[int, ...]
    gains: tuple[tuple[float, ...], ...]
    curve: SizeCurve


@dataclass(frozen=True)
class ParetoPoint:
    """A condition among costs; `on_front` names the costs for which no other is cheaper and better."""

    condition: ConditionResult
    on_front: tuple[str, ...]


@dataclass(frozen=True)
class RankResult:
    """Ranks of one factor's levels over data sets."""

    factor: str
    levels: tuple[Level, ...]
    data: tuple[str, ...]
    friedman: Friedman


@dataclass(frozen=True)
class Analysis:
    """All that a report says.

    Attributes:
        study: The study.
        varied: Factors with more than one level.
        conditions: Those with at least one finished run, in the study's order.
        missing: Titles of planned runs that are not done.
        failed: (title, reason).
        set_aside: Run folders with damaged files.
        foreign: Finished runs in the folder that the study as it is now does not plan.
        families: Comparisons.
        interactions: Whether gains add up.
        sizes: Gains against training size; empty where the fraction does not vary.
        ranks: Over data sets; empty where there is one set only.
        pareto: Accuracy against costs.
        warnings: (title of the run, sentence) for each training problem that was detected.
        problems: What makes the numbers not comparable: other data, other environments.
    """

    study: StudyConfig
    varied: tuple[str, ...]
    conditions: tuple[ConditionResult, ...]
    missing: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    set_aside: tuple[SetAside, ...]
    foreign: int
    families: tuple[Family, ...]
    interactions: tuple[InteractionResult, ...]
    sizes: tuple[SizeResult, ...]
    ranks: tuple[RankResult, ...]
    pareto: tuple[ParetoPoint, ...]
    warnings: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
