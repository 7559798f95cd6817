"""Tables of interactions, training size, ranks and trade-offs."""

from __future__ import annotations

from fer_attention.study.config import level_text
from fer_attention.study.report.curves import COSTS
from fer_attention.study.report.document import Column, Table
from fer_attention.study.report.layout import levels_text
from fer_attention.study.report.reading import confidence, slug
from fer_attention.study.report.wording import (
    MISSING,
    count,
    decimal,
    equal_or_less,
    interval,
    p_value,
    percent,
    points,
    short,
)
from fer_attention.study.results import Analysis, InteractionResult, RankResult


def interaction_tables(analysis: Analysis) -> list[Table]:
    """Analysis of variance and differences of differences, two tables for each pair of factors."""
    made = []
    for number, result in enumerate(analysis.interactions, start=1):
        made += [_anova(analysis, result, number), _contrasts(analysis, result, number)]
    return made


def _title(result: InteractionResult) -> str:
    within = f", {levels_text(dict(result.within))}" if result.within else ""
    return f"{result.question.first} × {result.question.second}{within}"


def _anova(analysis: Analysis, result: InteractionResult, number: int) -> Table:
    level = percent(confidence(analysis), 0)
    one = result.analysis
    return Table(
        name=f"anova-{number}",
        title=f"Analysis of variance, {_title(result)}",
        columns=(
            Column("effect", text=True),
            Column("df"),
            Column("F"),
            Column("p"),
            Column("partial η²"),
            Column(f"{level} % interval"),
        ),
        rows=tuple(
            (
                row.effect,
                f"{row.df:g}, {row.df_residual:g}",
                decimal(row.f),
                p_value(row.p),
                decimal(row.partial_eta_squared, 3),
                interval(row.interval, lambda share: decimal(share, 3)),
            )
            for row in one.anova
        ),
        note=f"Replications are blocks. {one.mixed_text}",
    )


def _contrasts(analysis: Analysis, result: InteractionResult, number: int) -> Table:
    level = percent(confidence(analysis), 0)
    one = result.analysis
    margin = percent(analysis.study.margin)
    lacking = one.dropped
    dropped = f" {lacking} of {one.blocks} blocks lack a run; contrasts leave them out." if lacking else ""
    return Table(
        name=f"interaction-{number}",
        title=f"Differences of differences, {_title(result)}",
        columns=(
            Column("levels", text=True),
            Column("blocks"),
            Column("mean, points"),
            Column(f"{level} % interval"),
            Column("p"),
            Column("p (Holm)"),
            Column("verdict", text=True),
            Column("replications for the margin"),
            Column("for one as large as seen"),
        ),
        rows=tuple(
            (
                f"{contrast.first} × {contrast.second}",
                count(contrast.n),
                points(contrast.mean),
                interval(contrast.interval, points),
                p_value(contrast.p),
                p_value(contrast.p_holm),
                contrast.verdict,
                count(contrast.replications_to_decide),
                count(contrast.replications_for_observed),
            )
            for contrast in one.interactions
        ),
        note="What both levels gain together beyond the sum of their gains over the first levels. Additive: "
        "within "
        f"±{margin} points by two one-sided tests.{dropped}",
    )


def size_table(analysis: Analysis) -> Table | None:
    """Slopes of gains against training size; None where the fraction does not vary."""
    if not analysis.sizes:
        return None
    level = percent(confidence(analysis), 0)
    return Table(
        name="size",
        title="Gain against the number of training images",
        columns=(
            Column("gain", text=True),
            Column("within", text=True),
            Column("images", text=True),
            Column("gains, points", text=True),
            Column("slope per doubling, points"),
            Column(f"{level} % interval"),
            Column("p"),
        ),
        rows=tuple(
            (
                f"{level_text(one.factor, one.level)} - {level_text(one.factor, one.baseline)}",
                levels_text(dict(one.within)) or MISSING,
                "; ".join(count(images) for images in one.images),
                "; ".join(points(sum(gains) / len(gains)) if gains else MISSING for gains in one.gains),
                points(one.curve.slope),
                interval(one.curve.interval, points),
                p_value(one.curve.p),
            )
            for one in analysis.sizes
        ),
        note="A line of the gain on log2 of the number of images for each replication; the mean slope is "
        "tested over the replications. These p-values are not corrected.",
    )


def rank_tables(analysis: Analysis) -> list[Table]:
    """Mean ranks over data sets, one table for each factor."""
    return [_ranks(result, number) for number, result in enumerate(analysis.ranks, start=1)]


def _ranks(result: RankResult, number: int) -> Table:
    one = result.friedman
    order = sorted(zip(one.mean_ranks, result.levels, strict=True), key=lambda pair: pair[0])
    if one.p is not None and one.critical_difference is not None:
        verdict = (
            f"Iman and Davenport's p {equal_or_less(one.p)}; levels whose ranks differ by "
            f"{one.critical_difference:.2f} or more differ (Nemenyi, Demšar 2006)."
        )
    else:
        verdict = f"No verdict: {one.why}"
    return Table(
        name=f"ranks-{slug(result.factor, number)}",
        title=f"Mean ranks of {result.factor} over {len(result.data)} data sets",
        columns=(Column(result.factor, text=True), Column("mean rank")),
        rows=tuple((level_text(result.factor, level), decimal(float(rank))) for rank, level in order),
        note=f"1 is best; over {', '.join(result.data)}. {verdict}",
    )


def pareto_table(analysis: Analysis) -> Table | None:
    """Which conditions no other beats in both accuracy and a cost; None of a single condition."""
    if len(analysis.pareto) < 2:
        return None
    return Table(
        name="pareto",
        title="Accuracy against costs",
        columns=(
            Column("condition", text=True),
            Column("accuracy %"),
            *(Column(heading) for heading, _ in COSTS.values()),
            Column("on the front of", text=True),
        ),
        rows=tuple(
            (
                one.condition.label or one.condition.model,
                percent(one.condition.accuracy.mean),
                *(short(cost(one.condition)) for _, cost in COSTS.values()),
                ", ".join(COSTS[name][0].split(",")[0] for name in one.on_front) or MISSING,
            )
            for one in analysis.pareto
        ),
        note="On the front of a cost: no other condition on the data set is at most as dear and at least as "
        "accurate. By means; neighbours may not differ.",
    )
