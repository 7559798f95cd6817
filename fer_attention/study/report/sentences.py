"""The answer in plain language; every sentence is made of numbers that the report holds."""

from __future__ import annotations

from fer_attention.study.report import findings, scope
from fer_attention.study.report.sentence import Sentence
from fer_attention.study.results import Analysis


def sentences(analysis: Analysis) -> list[Sentence]:
    """The summary of a study, in the order of its topics; what it has no numbers for is left out.

    Raises:
        ValueError: No run of the study is finished.
    """
    parts = (
        scope.measured,
        findings.comparisons,
        findings.interactions,
        findings.sizes,
        findings.costs,
        findings.bias,
        findings.best,
        scope.missing,
        scope.limits,
    )
    return [sentence for part in parts for sentence in part(analysis)]
