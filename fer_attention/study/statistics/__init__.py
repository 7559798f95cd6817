"""The statistics of a study: how sure a difference is, and what more runs would decide.

Pure functions: arrays go in, frozen records come out. Whatever is drawn at random takes a seed and leaves
NumPy's random state alone. Accuracies are shares in [0, 1], a difference is a - b, alpha is 0.05 and
confidence 0.95 by default. What cannot be computed is None, never NaN, and an input that makes no sense is a
ValueError. Differences of up to 1e-12 are rounding and count as none. Every function names its source.

| question | function |
| --- | --- |
| Is a ahead of b, over seeds? | `paired_comparison`, `probability_of_outperforming` |
| Over folds that share training images? | `corrected_resampled_t_test` |
| Many tests at once? | `holm` |
| Do two models differ on these images? | `mcnemar`, `paired_bootstrap` |
| Over data sets? | `friedman` |
| Do two gains add up? | `factorial_analysis` |
| How many seeds? | `replications_needed`, `detectable_effect`, `achieved_power` |
| Does the gain depend on the number of images? | `size_curve`, `accuracy_curve` |
| What is worth its cost? | `pareto_front` |
"""

from fer_attention.optional import needs_extra

with needs_extra("study", "The statistics of a study need scipy, statsmodels and pandas"):
    import pandas as _pandas  # noqa: F401  (that they are there is looked at once, here)
    import scipy.stats as _stats  # noqa: F401
    import statsmodels as _statsmodels  # noqa: F401

from fer_attention.study.statistics.anova import Effect, MixedModel
from fer_attention.study.statistics.classifiers import (
    McNemar,
    PairedBootstrap,
    mcnemar,
    paired_bootstrap,
    paired_proportions_interval,
)
from fer_attention.study.statistics.corrected import CorrectedTTest, corrected_resampled_t_test
from fer_attention.study.statistics.factorial import FactorialAnalysis, factorial_analysis
from fer_attention.study.statistics.interactions import InteractionContrast
from fer_attention.study.statistics.multiplicity import holm
from fer_attention.study.statistics.outperforming import Outperforming, probability_of_outperforming
from fer_attention.study.statistics.paired import PairedComparison, paired_comparison
from fer_attention.study.statistics.pareto import pareto_front
from fer_attention.study.statistics.power import achieved_power, detectable_effect, replications_needed
from fer_attention.study.statistics.ranks import Friedman, critical_difference, friedman
from fer_attention.study.statistics.saturation import AccuracyCurve, accuracy_curve
from fer_attention.study.statistics.size import Band, SizeCurve, size_curve

__all__ = [
    "AccuracyCurve",
    "Band",
    "CorrectedTTest",
    "Effect",
    "FactorialAnalysis",
    "Friedman",
    "InteractionContrast",
    "McNemar",
    "MixedModel",
    "Outperforming",
    "PairedBootstrap",
    "PairedComparison",
    "SizeCurve",
    "accuracy_curve",
    "achieved_power",
    "corrected_resampled_t_test",
    "critical_difference",
    "detectable_effect",
    "factorial_analysis",
    "friedman",
    "holm",
    "mcnemar",
    "paired_bootstrap",
    "paired_comparison",
    "paired_proportions_interval",
    "pareto_front",
    "probability_of_outperforming",
    "replications_needed",
    "size_curve",
]
