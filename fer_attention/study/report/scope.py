"""Sentences on what was measured, what is missing, and what the numbers cannot say."""

from __future__ import annotations

from statistics import fmean, median

from fer_attention.study.report.reading import (
    POWER,
    conditions_on,
    data_sets,
    protocol_text,
    runs_of,
    tta_text,
)
from fer_attention.study.report.sentence import Sentence, be, plural, ranged, say
from fer_attention.study.results import Analysis
from fer_attention.study.statistics import detectable_effect

FEW = 5
"""Fewer replications than these and a sentence says so."""


def measured(analysis: Analysis) -> list[Sentence]:
    """Runs, seeds, images, protocol, views and selection."""
    topic = "What was measured"
    runs = runs_of(analysis.conditions)
    seeds = len({run.seed for run in runs})
    conditions = len(analysis.conditions)
    made = [
        say(
            topic,
            f"{{runs:n}} of {{planned:n}} planned runs are finished: {{conditions:n}} "
            f"{plural(conditions, 'condition')}, {{seeds:n}} {plural(seeds, 'seed')}.",
            runs=len(runs),
            planned=len(runs) + len(open_runs(analysis)),
            conditions=conditions,
            seeds=seeds,
        )
    ]
    for data in data_sets(analysis):
        own = runs_of(conditions_on(analysis, data))
        images, counts = ranged("images", [run.data.test_images for run in own])
        selection, others = ranged("selection", [run.data.validation_images for run in own])
        made.append(
            say(
                topic,
                f"On {{data}}, accuracy is that on {images} test images (protocol {{protocol}}; {{views}}); "
                f"epochs were selected on {selection} validation images.",
                data=data,
                protocol=protocol_text(own),
                views=" and ".join(sorted({tta_text(run.tta) for run in own})),
                **counts,
                **others,
            )
        )
    return made


def open_runs(analysis: Analysis) -> set[str]:
    """Titles of planned runs that are not done, failed ones among them."""
    return {*analysis.missing, *(title for title, _ in analysis.failed)}


def missing(analysis: Analysis) -> list[Sentence]:
    """Failures, gaps and damage; nothing where there are none."""
    failed = {title for title, _ in analysis.failed}
    unfinished = len(open_runs(analysis) - failed)
    warned = len({title for title, _ in analysis.warnings})
    counts = (
        (len(failed), "run", "{be} not in the numbers: failed"),
        (unfinished, "planned run", "{be} not finished"),
        (len(analysis.set_aside), "run", "with damaged files {be} left out"),
        (
            analysis.foreign,
            "finished run",
            "in the folder {be} left out: the study as it is now has no such run",
        ),
        (warned, "run", f"{'has' if warned == 1 else 'have'} training warnings; see below"),
        (len(analysis.problems), "problem", "with the comparison itself; see below"),
    )
    return [
        say("What is missing", f"{{n:n}} {plural(n, noun)} {text.format(be=be(n))}.", n=n)
        for n, noun, text in counts
        if n
    ]


def limits(analysis: Analysis) -> list[Sentence]:
    """What this study cannot say."""
    topic = "What this study cannot say"
    runs = runs_of(analysis.conditions)
    made = [*_few_runs(analysis, topic), *_spread_of_images(analysis, topic)]
    sets = data_sets(analysis)
    if len(sets) == 1:
        made.append(
            say(
                topic,
                "All of it is on one data set, {data}: other faces may give other answers.",
                data=sets[0],
            )
        )
    widths = {float(run.config.get("structure", {}).get("width", 1.0)) for run in runs}
    if max(widths) < 1:
        made.append(
            say(
                topic,
                "The models have {width:plain} of the usual number of channels: full ones may give "
                "other answers.",
                width=max(widths),
            )
        )
    share = max(float(condition.factors["fraction"]) for condition in analysis.conditions)
    if share < 1:
        made.append(
            say(
                topic,
                "At most {share:whole_pct} % of the training images were used: gains may differ with all of "
                "them.",
                share=share,
            )
        )
    return made


def _few_runs(analysis: Analysis, topic: str) -> list[Sentence]:
    least = min(len(condition.runs) for condition in analysis.conditions)
    if least == 1:
        return [
            say(topic, "Some conditions have {n:n} run only: nothing is known of how much it varies.", n=1)
        ]
    made = []
    if least < FEW:
        made.append(
            say(
                topic,
                "With {n:n} runs of a condition, spreads are rough and intervals wide.",
                n=least,
            )
        )
    pairs = [one.paired for family in analysis.families for one in family.single or family.pooled]
    spreads = [one.sd for one in pairs if one.sd]
    if spreads:
        n = round(median(one.n for one in pairs))
        effect = detectable_effect(median(spreads), n, power=POWER, alpha=analysis.study.alpha)
        if effect is not None and effect < 1:
            text = (
                "{n:n} pairs of the usual spread show a true difference of about {effect:unsigned_points} "
                "points with {power:whole_pct} % power; smaller ones are often missed."
            )
            made.append(say(topic, text, n=n, effect=effect, power=POWER))
        elif effect is not None:
            text = "{n:n} pairs of the usual spread would often miss any difference that there can be."
            made.append(say(topic, text, n=n))
    return made


def _spread_of_images(analysis: Analysis, topic: str) -> list[Sentence]:
    made = []
    for data in data_sets(analysis):
        runs = runs_of(conditions_on(analysis, data))
        images, counts = ranged("images", [run.test.n for run in runs])
        made.append(
            say(
                topic,
                "Intervals over runs hold the chance in training. Other test images of the kind would move "
                "one "
                f"run's accuracy on {{data}} by about ±{{half:unsigned_points}} points as well (Wilson, "
                f"{{confidence:whole_pct}} %, {images} images).",
                data=data,
                half=fmean((run.test.high - run.test.low) / 2 for run in runs),
                confidence=0.95,
                **counts,
            )
        )
    return made
