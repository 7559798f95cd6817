"""Sentences on what was found: differences, interactions, training size, costs, bias shift, the best."""

from __future__ import annotations

from collections.abc import Mapping

from fer_attention.study.config import Level, level_text
from fer_attention.study.report.best import best_conditions
from fer_attention.study.report.bias import bias_shifts
from fer_attention.study.report.costs import cost_ratios
from fer_attention.study.report.layout import levels_text
from fer_attention.study.report.reading import POWER, confidence, quoted
from fer_attention.study.report.sentence import Sentence, plural, say
from fer_attention.study.results import Analysis, ComparisonResult, InteractionResult, SizeResult
from fer_attention.study.statistics import InteractionContrast

INTERVAL = "{confidence:whole_pct} % interval {low:points} to {high:points}"


def comparisons(analysis: Analysis) -> list[Sentence]:
    """Each pooled comparison; single ones of families that have no pooled one."""
    return [
        _comparison(analysis, one) for family in analysis.families for one in family.pooled or family.single
    ]


def _comparison(analysis: Analysis, one: ComparisonResult) -> Sentence:
    value = quoted(one)
    text = "{label}: {difference:points} points ("
    numbers: dict[str, float | str] = {"label": one.label, "difference": value.difference, "n": value.n}
    if value.low is not None and value.high is not None:
        text += INTERVAL + ", "
        numbers |= {"confidence": confidence(analysis), "low": value.low, "high": value.high}
    text += f"n = {{n:n}} {plural(value.n, 'pair')}"
    if one.p_holm is not None:
        text += ", p {p:p} after Holm"
        numbers["p"] = one.p_holm
    if one.decided:
        numbers["level"] = level_text(one.factor, one.level)
        text += f"): decided, {{level}} is {'ahead' if value.difference > 0 else 'behind'}."
    elif one.replications_needed is None:
        text += "): not decided."
    else:
        text += (
            "): not decided; about {needed:n} replications would see a difference of "
            "{margin:unsigned_points} points with {power:whole_pct} % power."
        )
        numbers |= {"needed": one.replications_needed, "margin": analysis.study.margin, "power": POWER}
    return say("Differences of accuracy", text, **numbers)


def interactions(analysis: Analysis) -> list[Sentence]:
    """Whether gains add up, one sentence for each pair of levels."""
    return [sentence for result in analysis.interactions for sentence in _interaction(analysis, result)]


VERDICTS = {
    "synergistic": "synergistic, together they gain more than the sum",
    "antagonistic": "antagonistic, together they gain less than the sum",
    "additive": "additive, any deviation from the sum is smaller than {margin:unsigned_points} points",
    "undecided": "undecided",
}


def _interaction(analysis: Analysis, result: InteractionResult) -> list[Sentence]:
    return [
        _contrast(analysis, result, contrast)
        for contrast in result.analysis.interactions
        if contrast.mean is not None  # without a complete block there is nothing to say
    ]


def _contrast(analysis: Analysis, result: InteractionResult, one: InteractionContrast) -> Sentence:
    numbers: dict[str, float | str] = {
        "first": level_text(result.question.first, one.first),
        "second": level_text(result.question.second, one.second),
        "mean": one.mean or 0.0,
        "n": one.n,
        "margin": analysis.study.margin,
    }
    text = "{first} with {second}" + _within(result.within, numbers)
    text += ": beyond the sum of both gains {mean:points} points ("
    if one.interval is not None:
        text += INTERVAL + ", "
        numbers |= {"confidence": confidence(analysis), "low": one.interval[0], "high": one.interval[1]}
    text += f"n = {{n:n}} {plural(one.n, 'block')}"
    if one.p_holm is not None:
        text += ", p {p:p} after Holm"
        numbers["p"] = one.p_holm
    text += f"): {VERDICTS[one.verdict]}"
    if one.verdict == "undecided" and one.replications_to_decide is not None:
        text += (
            "; about {needed:n} replications would see one of {margin:unsigned_points} points with "
            "{power:whole_pct} % power"
        )
        numbers |= {"needed": one.replications_to_decide, "power": POWER}
    return say("Interaction", text + ".", **numbers)


def _within(within: Mapping[str, Level], values: dict[str, float | str]) -> str:
    """A template's part that names the other factors' levels, if there are any."""
    if not within:
        return ""
    values["within"] = levels_text(dict(within))
    return " ({within})"


def sizes(analysis: Analysis) -> list[Sentence]:
    """How each gain changes with the number of training images."""
    return [_size(analysis, result) for result in analysis.sizes]


def _size(analysis: Analysis, result: SizeResult) -> Sentence:
    curve = result.curve
    numbers: dict[str, float | str] = {
        "level": level_text(result.factor, result.level),
        "baseline": level_text(result.factor, result.baseline),
        "smallest": min(result.images),
        "largest": max(result.images),
        "slope": curve.slope,
    }
    text = "From {smallest:n} to {largest:n} training images the gain of {level} over {baseline}"
    text += _within(result.within, numbers) + " changes by {slope:points} points with each doubling"
    parts = []
    if curve.interval is not None:
        parts.append(INTERVAL)
        numbers |= {"confidence": confidence(analysis), "low": curve.interval[0], "high": curve.interval[1]}
    if curve.p is not None:
        parts.append("p {p:p}")
        numbers["p"] = curve.p
    text += f" ({', '.join(parts)})" if parts else ""
    return say(
        "Training size",
        f"{text}: {f'decided, it {curve.direction}' if curve.decided else 'not decided'}.",
        **numbers,
    )


def costs(analysis: Analysis) -> list[Sentence]:
    """What each attention takes in training time and parameters."""
    return [
        say(
            "Cost",
            "{level} against {baseline}: a training run takes {time:ratio} times as long ({image:ratio} "
            "times for each image), with {parameters:three} times the parameters; medians over {pairs:n} "
            f"{plural(one.pairs, 'pair')} of conditions.",
            level=level_text(one.factor, one.level),
            baseline=level_text(one.factor, one.baseline),
            time=one.train_seconds,
            image=one.seconds_per_image,
            parameters=one.parameters,
            pairs=one.pairs,
        )
        for one in cost_ratios(analysis)
        if one.factor == "attention"
    ]


def bias(analysis: Analysis) -> list[Sentence]:
    """The mean activation under each activation, against the first one's."""
    made = []
    for shift in bias_shifts(analysis):
        names, sizes_, runs = shift.activations, shift.size, shift.runs
        first = names.index("relu") if "relu" in names else 0
        for other in (number for number in range(len(names)) if number != first):
            made.append(
                say(
                    "Bias shift",
                    "In {backbone} the mean activation of a layer is {a:three} away from zero with {name} "
                    f"({{runs:n}} {plural(runs[other], 'run')}) and {{b:three}} with {{base}} "
                    f"({{others:n}}), "
                    "over {layers:n} layers.",
                    backbone=shift.backbone,
                    name=names[other],
                    base=names[first],
                    a=sizes_[other],
                    b=sizes_[first],
                    runs=runs[other],
                    others=runs[first],
                    layers=len(shift.layers),
                )
            )
    return made


def best(analysis: Analysis) -> list[Sentence]:
    """The condition with the highest mean on each data set, and how many may be as good."""
    made = []
    for found in best_conditions(analysis):
        one = found.condition
        numbers: dict[str, float | str] = {
            "data": one.data.name,
            "label": one.label or one.model,
            "mean": one.accuracy.mean,
            "n": one.accuracy.n,
        }
        text = "Highest on {data}: {label}, {mean:pct} % ("
        if one.accuracy.low is not None and one.accuracy.high is not None:
            text += "{confidence:whole_pct} % interval {low:pct} to {high:pct}, "
            numbers |= {
                "confidence": confidence(analysis),
                "low": one.accuracy.low,
                "high": one.accuracy.high,
            }
        text += f"n = {{n:n}} {plural(one.accuracy.n, 'run')})"
        if found.others:
            text += "; {alike:n} of the {others:n} others cannot be told apart from it"
            numbers |= {"alike": found.alike, "others": found.others}
            if found.alike:
                text += ", and as it was picked for being highest, its mean is rather too high"
        made.append(say("The best", text + ".", **numbers))
    return made
