"""Tables of differences between levels: the tests that decide, and those beside them."""

from __future__ import annotations

from collections.abc import Sequence

from fer_attention.study.config import level_text
from fer_attention.study.report.document import Column, Table
from fer_attention.study.report.plots import forest_rows
from fer_attention.study.report.reading import confidence, data_sets, quoted, slug
from fer_attention.study.report.tables import setting_of
from fer_attention.study.report.wording import (
    MISSING,
    count,
    decimal,
    interval,
    p_value,
    percent,
    points,
    span,
)
from fer_attention.study.results import Analysis, ComparisonResult, Family, ImageTest


def comparison_tables(analysis: Analysis) -> list[Table]:
    """Two for each family; pooled comparisons come before the single ones of their level."""
    made = []
    for number, family in enumerate(analysis.families, start=1):
        rows = forest_rows(family)
        if rows:
            name = f"comparisons-{slug(family.factor, number)}"
            made += [_differences(analysis, family, rows, name), _further(analysis, family, rows, name)]
    return made


def _title(family: Family) -> str:
    return f"{family.factor.capitalize()} against {level_text(family.factor, family.baseline)}"


def _differences(analysis: Analysis, family: Family, rows: Sequence[ComparisonResult], name: str) -> Table:
    level = percent(confidence(analysis), 0)
    return Table(
        name=name,
        title=_title(family),
        columns=(
            Column("comparison", text=True),
            Column("pairs"),
            Column("difference, points"),
            Column(f"{level} % interval"),
            Column("p"),
            Column("p (Holm)"),
            Column("decided"),
            Column("P(better)"),
            Column("replications needed"),
        ),
        rows=tuple(_difference(row) for row in rows),
        note=_note(analysis, family, rows),
    )


def _difference(one: ComparisonResult) -> tuple[str, ...]:
    value, ahead = quoted(one), one.outperforming
    return (
        one.label,
        count(value.n),
        points(value.difference),
        span(value.low, value.high, points),
        p_value(value.p),
        p_value(one.p_holm),
        "yes" if one.decided else "no",
        f"{decimal(ahead.probability)} ({interval(ahead.interval, decimal)})",
        count(one.replications_needed),
    )


def _note(analysis: Analysis, family: Family, rows: Sequence[ComparisonResult]) -> str:
    margin, alpha = percent(analysis.study.margin), f"{analysis.study.alpha:g}"
    test = "t-test corrected for overlapping training sets" if rows[0].corrected else "paired t-test"
    parts = [
        *(f"{data}: {setting_of(analysis, data)}" for data in data_sets(analysis)),
        f"p: {test}. Corrected together by Holm: {len(family.pooled)} pooled comparisons, and "
        f"{len(family.single)} of one combination each.",
        f"Replications needed: for a difference of {margin} points, 80 % power, alpha {alpha}.",
    ]
    if left := sum(row.unpaired for row in rows):
        parts.append(f"{left} runs without a partner are left out.")
    return " ".join(parts)


def _further(analysis: Analysis, family: Family, rows: Sequence[ComparisonResult], name: str) -> Table:
    alpha = f"{analysis.study.alpha:g}"
    corrected = any(row.corrected is not None for row in rows)
    return Table(
        name=f"{name}-further",
        title=f"{_title(family)}: further tests",
        columns=(
            Column("comparison", text=True),
            Column("d_z"),
            Column("bootstrap interval, points"),
            *([Column("p (t, uncorrected)")] if corrected else []),
            Column("p (Wilcoxon)"),
            Column(f"McNemar p < {alpha}"),
        ),
        rows=tuple(
            (
                row.label,
                decimal(row.paired.d_z),
                interval(row.paired.bootstrap_interval, points),
                *([p_value(row.paired.p_t)] if corrected else []),
                p_value(row.paired.p_wilcoxon),
                images_text(row.images, analysis.study.alpha),
            )
            for row in rows
        ),
        note="Bootstrap intervals of few pairs are too narrow; the t interval is the one to quote. McNemar: "
        "in how many replications two models' answers to the same test images differ.",
    )


def images_text(tests: Sequence[ImageTest], alpha: float) -> str:
    """`1 of 5`: in how many replications McNemar's test is below alpha."""
    if not tests:
        return MISSING
    return f"{sum(one.test.p < alpha for one in tests)} of {len(tests)}"
