"""How to read a report: a short paragraph for each kind of number in it."""

from __future__ import annotations

from fer_attention.study.report.document import Bullets
from fer_attention.study.report.reading import confidence
from fer_attention.study.report.wording import percent
from fer_attention.study.results import Analysis


def explanations(analysis: Analysis) -> tuple[Bullets, ...]:
    """Only of what this report holds."""
    level, alpha = percent(confidence(analysis), 0), f"{analysis.study.alpha:g}"
    margin = percent(analysis.study.margin)
    made = [
        f"Interval: if the whole study were repeated with other seeds, {level} % of such intervals would "
        "hold the true mean (Student's t over the runs). It holds the chance of training, not that of the "
        "choice of test images."
    ]
    if analysis.families:
        made += [
            "Difference: runs of two conditions with the same seed and fold are a pair; the mean of the "
            "pairs' differences is tested by the paired t-test. Pooled comparisons take the mean over all "
            "other factors.",
            f"Holm: of many tests some fall below {alpha} by chance. Holm's correction keeps the chance of "
            f"even one such error in a family at {alpha} (Holm 1979). Decided means: the corrected p is "
            f"below {alpha}. Not "
            "decided does not mean equal.",
            "P(better): the share of pairs in which the level is ahead, ties half. Significant if its "
            "interval is above 0.5, and meaningful if it reaches above 0.75 too (Bouthillier et al. 2021, "
            "arXiv:2103.03098).",
            "d_z: mean of the differences over their standard deviation (Cohen's d for pairs). McNemar: "
            "whether two models answer the same test images differently, in one replication.",
            f"Replications: how many would see a difference of {margin} points with 80 % power at the spread "
            "seen here; of few runs that spread is itself rough.",
        ]
        if any(one.corrected for family in analysis.families for one in (*family.pooled, *family.single)):
            made.append(
                "Folds share most of their training images, so their results hang together: the t-test is "
                "corrected for it (Nadeau and Bengio 2003)."
            )
    if analysis.interactions:
        made.append(
            "Verdicts: synergistic and antagonistic mean that the difference of differences is above or "
            "below "
            f"zero, with the corrected p below {alpha}; additive that it is within ±{margin} points by two "
            "one-sided tests (Schuirmann 1987); undecided is all else. Not significant is not additive."
        )
    return (Bullets(tuple(made), heading="How to read this page"),)
