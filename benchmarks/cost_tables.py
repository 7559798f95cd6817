"""Markdown tables of the attention benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from bars import MET, MISSED, NOT_MEASURED, Verdict, own_candidate
from candidates import OURS
from cost_record import Case, Measured, Profile, Ratio, Record, Spread

Group = tuple[str, str, str]
"""Device, type and activation; a table shows one group."""

TITLES = {"cpu": "CPU", "cuda": "GPU", "elu": "ELU", "relu": "ReLU", "autocast": "bfloat16 autocast"}
NETWORKS = {"resnet50": "ResNet-50", "resnetv2_50": "ResNetV2-50", "vgg16": "VGG-16"}
ROWS_OF_A_PROFILE = 12


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Format a Markdown table whose first `left` columns are left-aligned, the others right-aligned."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def short(value: float) -> str:
    """Format a number with three significant digits.

    >>> [short(value) for value in (0.01234, 1.234, 123.4, 1234.5)]
    ['0.0123', '1.23', '123', '1234']
    """
    return f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:.0f}"


def ms(spread: Spread | None) -> str:
    """Format a median ± half the interquartile range, in milliseconds."""
    return "" if spread is None else f"{short(spread.median)} ± {(spread.q75 - spread.q25) / 2:.2g}"


def times(ratio: Ratio | None) -> str:
    """Format a ratio with its interval."""
    return "" if ratio is None else f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def cases_of(records: Mapping[str, Record], section: str) -> dict[Group, list[Case]]:
    """Return the cases of a section by group, sorted."""
    found: dict[Group, list[Case]] = {}
    for record in records.values():
        if record.section == section:
            found.setdefault(group_of(record), []).extend(record.cases)
    return dict(sorted(found.items()))


def group_of(record: Record) -> Group:
    """Return device, type and activation of a record."""
    return record.settings.device, record.settings.dtype, record.settings.activation


def title(group: Group, *, activation: bool = True) -> str:
    """Format a group for a heading."""
    return ", ".join(TITLES.get(word, word) for word in (group if activation else group[:2]))


def bars_table(found: Sequence[Verdict], records: Mapping[str, Record]) -> str:
    """Format the bars with measurement and verdict; all maps of a block share a row."""
    rows = []
    for (bar, name), several in groupby(found, key=lambda one: (one.bar, one.record)):
        verdicts = list(several)
        group = group_of(records[name]) if name else (bar.device,)
        where = ", ".join(TITLES.get(word, word) for word in group[: 2 if bar.section == "blocks" else 3])
        where += ", **busy machine**" if name and records[name].environment.busy else ""
        rows.append([bar.text, where, *_measured(verdicts)])
    return table(["bar", "setting", "measured", "verdict"], rows, left=4)


def _measured(verdicts: Sequence[Verdict]) -> tuple[str, str]:
    values = [verdict.value for verdict in verdicts if verdict.value is not None]
    if not values:
        return "", NOT_MEASURED
    if len(values) == 1:
        interval = verdicts[0].interval
        within = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        return f"`{verdicts[0].ours}` {values[0]:.3f}{within}", verdicts[0].word
    met = sum(verdict.word == MET for verdict in verdicts)
    span = f"`{verdicts[0].ours}` {min(values):.2f} to {max(values):.2f} on {len(values)} maps"
    return span, MET if met == len(values) else f"{MISSED} (met on {met} of {len(values)})"


def losses_table(records: Mapping[str, Record]) -> str:
    """List the comparisons in which our block is slower than timm's or the naive one beyond the interval."""
    rows = []
    for section in ("blocks", "networks"):
        for group, cases in cases_of(records, section).items():
            for case in cases:
                rows += [[title(group), *row] for row in _losses(case)]
    return table(["setting", "where", "", "slower than", "by a factor of"], rows, left=4) if rows else ""


def _losses(case: Case) -> Iterable[list[str]]:
    names = [one.name for one in case.candidates]
    for attention in dict.fromkeys(one.attention for one in case.candidates):
        ours = own_candidate(names, attention)
        for other in (f"{attention} timm", f"{attention} naive"):
            ratio = case.ratio(ours, other) if ours else None
            if ratio is not None and ratio.low > 1:
                yield [f"{describe_case(case)}, {case.mode}", f"`{ours}`", f"`{other}`", times(ratio)]


def describe_case(case: Case) -> str:
    """Describe network or maps, size and batch of a case."""
    if case.subject == "block":
        return f"block on {' × '.join(map(str, case.shape))}"
    return f"{NETWORKS.get(case.subject, case.subject)}, {case.size}×{case.size}, batch {case.shape[0]}"


def blocks_tables(cases: Sequence[Case]) -> str:
    """Format one table per image size: each block on the maps of ResNet-50's stages."""
    parts = []
    for size in sorted({case.size for case in cases}):
        inference = [case for case in cases if (case.size, case.mode) == (size, "inference")]
        training = [case for case in cases if (case.size, case.mode) == (size, "training")]
        names = list(dict.fromkeys(one.name for case in training for one in case.candidates))
        head = ["ms: forward; forward + backward", *(" × ".join(map(str, c.shape)) for c in training)]
        rows = []
        for name in names:
            cells = [
                f"{ms(_time(one, name))}; {ms(_time(two, name))}"
                for one, two in zip(inference, training, strict=True)
            ]
            rows.append([f"`{name}`", *cells, _memory(training[0], name), _faster(training, name)])
        head += ["MiB, first map", "times timm's speed"]
        rounds = _range([case.rounds for case in (*inference, *training)])
        parts.append(f"#### Maps of {size}×{size} images ({rounds} rounds)\n\n{table(head, rows)}")
        parts[-1] += reasons_left_out(training)
    return "\n".join(parts)


def _time(case: Case, name: str) -> Spread | None:
    found = case.find(name)
    return found.ms if found else None


def _memory(case: Case, name: str) -> str:
    found = case.find(name)
    return "" if found is None or found.memory is None else short(found.memory.added_mib)


def _faster(cases: Sequence[Case], name: str) -> str:
    """Format the range of timm's time over our block's, forward and backward."""
    attention, _, variant = name.partition(" ")
    if variant not in OURS:
        return ""
    ratios = [ratio.median for case in cases if (ratio := case.ratio(f"{attention} timm", name))]
    return f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def networks_tables(cases: Sequence[Case]) -> str:
    """Format one table per network and size."""
    parts = []
    for (subject, size), both in groupby(cases, key=lambda case: (case.subject, case.size)):
        by_mode = {case.mode: case for case in both}
        head = [""]
        for mode, case in by_mode.items():
            head += [f"{mode}, ms", f"to `{case.base}`"]
            head += ["peak MiB", "to it"] if mode == "training" else []
        names = list(dict.fromkeys(one.name for case in by_mode.values() for one in case.candidates))
        rows = [
            [f"`{n}`", *(cell for mode, case in by_mode.items() for cell in _cells(case, n, mode))]
            for n in names
        ]
        first = next(iter(by_mode.values()))
        rounds = _range([case.rounds for case in by_mode.values()])
        heading = f"{NETWORKS.get(subject, subject)}, {size}×{size}, batch {first.shape[0]} ({rounds} rounds)"
        parts.append(f"#### {heading}\n\n{table(head, rows)}{reasons_left_out(by_mode.values())}")
    if any(one.variant == "compiled" for case in cases for one in case.candidates):
        parts.append("¹ To `none compiled`.\n")
    return "\n".join(parts)


def _cells(case: Case, name: str, mode: str) -> list[str]:
    found = case.find(name)
    width = 4 if mode == "training" else 2
    if found is None:
        return [""] * width
    base = case.find(case.base or "")
    reference = _compiled_reference(case, name)
    cells = [ms(found.ms), times(case.ratio(name, reference)) + (" ¹" if reference != case.base else "")]
    if mode == "training":
        cells += _peak(found, base)
    return cells


def _compiled_reference(case: Case, name: str) -> str:
    """Return the reference of a candidate: compiled ones compare with the compiled plain network."""
    compiled = name.endswith(" compiled") and name != "none compiled" and case.find("none compiled")
    return "none compiled" if compiled else case.base or ""


def _peak(found: Measured, base: Measured | None) -> list[str]:
    if found.memory is None or base is None or base.memory is None:
        return ["", ""]
    resident = found.memory.resident_added_mib
    process = "" if resident is None else f" (process {resident + found.memory.held_mib:.0f})"
    share = found.memory.peak_mib / base.memory.peak_mib
    return [f"{found.memory.peak_mib:.0f}{process}", f"{share:.3f}"]


def reasons_left_out(cases: Iterable[Case]) -> str:
    """List the candidates without numbers, with the reasons."""
    reasons: dict[str, list[str]] = {}
    for case in cases:
        for name, why in case.left_out.items():
            reasons.setdefault(why, []).append(f"`{name}`")
    lines = [f"Not in the table: {', '.join(dict.fromkeys(names))}: {why}." for why, names in reasons.items()]
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def grid_table(cases: Sequence[Case]) -> str:
    """Format parameters, MACs, latency and throughput of whole models."""
    head = ["model", "parameters, M", "MACs, M", "latency, ms", "to plain", "images/s", "time to plain"]
    rows = []
    for (subject, _), both in groupby(cases, key=lambda case: (case.subject, case.size)):
        by_batch = sorted(both, key=lambda case: case.shape[0])
        one, many = by_batch[0], by_batch[-1]
        for single in one.candidates:
            batched = many.find(single.name)
            if batched is None or single.ms is None or batched.ms is None:
                continue
            suffix = "" if single.attention == "none" else f" + {single.attention.upper()}"
            cells = [f"{(single.parameters or 0) / 1e6:.2f}", f"{(single.macs or 0) / 1e6:.0f}"]
            cells += [ms(single.ms), times(one.ratio(single.name, "none plain"))]
            rate = many.shape[0] / batched.ms.median * 1e3
            cells += [short(rate), times(many.ratio(batched.name, "none plain"))]
            rows.append([f"{subject}{suffix}", *cells])
    return table(head, rows)


def profile_table(profiles: Sequence[Profile]) -> str:
    """Format the slowest operators, in milliseconds per step, for each candidate."""
    totals: dict[str, float] = {}
    for profile in profiles:
        for operator in profile.operators:
            totals[operator.name] = max(totals.get(operator.name, 0), operator.self_ms)
    longest = sorted(totals, key=lambda name: -totals[name])[:ROWS_OF_A_PROFILE]
    head = ["operator, self time in ms per step", *(f"`{profile.candidate}`" for profile in profiles)]
    found = [{operator.name: operator.self_ms for operator in profile.operators} for profile in profiles]
    rows = [[f"`{name}`", *(short(own[name]) if name in own else "" for own in found)] for name in longest]
    shown = [sum(own.get(name, 0) for name in longest) for own in found]
    rest = [profile.total_ms - part for profile, part in zip(profiles, shown, strict=True)]
    rows.append(["all others", *(short(value) for value in rest)])
    rows.append(["total", *(short(profile.total_ms) for profile in profiles)])
    return table(head, rows)
