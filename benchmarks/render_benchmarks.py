"""Write docs/benchmarks.md and its figures from the records of `attention_cost.py`.

python benchmarks/render_benchmarks.py            # reads benchmarks/records/attention_cost/*.json
python benchmarks/render_benchmarks.py --records FOLDER --output FILE
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from bars import MISSED, verdicts
from benchmarks_text import BARS_HEAD, HEAD, LOSSES_HEAD, REPEAT
from cost_plots import draw, figure_name
from cost_record import RECORDS, Case, Profile, Record, read_records
from cost_tables import (
    NETWORKS,
    TITLES,
    bars_table,
    blocks_tables,
    cases_of,
    grid_table,
    group_of,
    losses_table,
    ms,
    networks_tables,
    profile_table,
    reasons_left_out,
    short,
    table,
    times,
    title,
)

from fer_attention.atomic import write_atomically

OUTPUT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
NO_LOSSES = "None in the records.\n"
UNKNOWN = "Not measured.\n"


def main() -> None:
    """Read the records and write the document with its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    records = read_records(options.records)
    images = options.output.parent / "images"
    images.mkdir(exist_ok=True)
    draw(records, images)
    write_atomically(options.output, document(records).encode())


def document(records: Mapping[str, Record]) -> str:
    """Render the whole page."""
    found = verdicts(records)
    parts = [
        HEAD,
        f"{BARS_HEAD}{bars_table(found, records)}",
        f"{LOSSES_HEAD}{losses_table(records) or (NO_LOSSES if records else UNKNOWN)}",
        _section("Blocks alone", records, "blocks", blocks_tables),
        _section("Blocks in networks", records, "networks", networks_tables),
        _section("The paper's grid", records, "grid", _grid),
        _section("From a photo to expressions", records, "photo", _photo),
        _profiles(records, missed=any(one.word == MISSED for one in found)),
        _machines(records),
        REPEAT,
    ]
    return "\n".join(part for part in parts if part)


def _section(
    heading: str, records: Mapping[str, Record], section: str, tables: Callable[[Sequence[Case]], str]
) -> str:
    """Render a section with one part per device, type and activation; name devices without records."""
    groups = cases_of(records, section)
    parts = [f"## {heading}\n"]
    for group, cases in groups.items():
        figure = figure_name(section, group)
        picture = "" if section == "photo" else f"![{heading}: {title(group)}](images/{figure})\n\n"
        name = title(group, activation=section in ("networks", "grid"))
        parts.append(f"### {name}\n\n{picture}{tables(_sorted(cases))}")
    parts += [
        f"### {TITLES[device]}\n\nNot measured.\n"
        for device in ("cpu", "cuda")
        if device not in {group[0] for group in groups}
    ]
    return "\n".join(parts)


def _sorted(cases: Sequence[Case]) -> list[Case]:
    """Sort by subject in the order of the records, then by size; keep the order of modes and maps."""
    subjects = list(dict.fromkeys(case.subject for case in cases))
    return sorted(cases, key=lambda case: (subjects.index(case.subject), case.size))


def _grid(cases: Sequence[Case]) -> str:
    parts = []
    for size in sorted({case.size for case in cases}):
        own = [case for case in cases if case.size == size]
        batch = max(case.shape[0] for case in own)
        head = f"{size}×{size}, inference: latency of one image, throughput at batch {batch}.\n\n"
        parts.append(head + grid_table(own) + reasons_left_out(own))
    return "\n".join(parts)


def _photo(cases: Sequence[Case]) -> str:
    parts = []
    for case in cases:
        faces = f"{case.shape[0]} face(s) of {case.size}×{case.size}, the bundled model"
        head = ["one photo" if case.subject == "photo" else faces, "ms", f"to `{case.base}`"]
        rows = [
            [f"`{one.name}`", ms(one.ms), times(case.ratio(one.name, case.base or ""))]
            for one in case.candidates
        ]
        rows += [[f"`{name}`", why, ""] for name, why in case.left_out.items()]
        parts.append(table(head, rows))
        facts = [f"{name} {short(v) if isinstance(v, float) else v}" for name, v in case.facts.items()]
        parts += [f"({', '.join(facts)})\n"] if facts else []
    return "\n".join(parts)


def _profiles(records: Mapping[str, Record], *, missed: bool) -> str:
    """Render the profiles if a bar is missed."""
    if not missed:
        return ""
    parts = ["## Time by operator\n\nSelf times of operators in one step, by torch's profiler.\n"]
    for record in records.values():
        for setting, several in groupby(record.profiles, key=_setting):
            parts.append(f"### {setting}, {title(group_of(record))}\n")
            parts.append(profile_table(list(several)))
    return "\n".join(parts if len(parts) > 1 else [*parts, "Not measured.\n"])


def _setting(profile: Profile) -> str:
    network = NETWORKS.get(profile.subject, profile.subject)
    return f"{network}, {profile.size}×{profile.size}, batch {profile.batch}, {profile.mode}"


def _machines(records: Mapping[str, Record]) -> str:
    """Render the table of records with machine, versions and command."""
    rows = []
    for name, record in records.items():
        on = record.environment
        where = f"{on.device}, {on.processor}, {on.threads} thread(s), {on.cpu_capability}"
        others = "not recorded" if on.others_share is None else f"{on.others_share:.0%}"
        versions = f"torch {on.torch}, timm {on.timm}, Python {on.python}"
        others += " (**busy**)" if on.busy else ""
        rows.append([f"`{name}`", where, others, versions, f"`{record.command}`", f"{record.minutes:.1f}"])
    head = ["record", "machine", "other work", "versions", "command", "minutes"]
    return f"## Records\n\n{_busy_note(records)}{table(head, rows, left=5)}" if rows else ""


def _busy_note(records: Mapping[str, Record]) -> str:
    """Warn of records from a busy machine; empty if there are none."""
    busy = [f"`{name}`" for name, record in records.items() if record.environment.busy]
    if not busy:
        return ""
    return f"Measured on a **busy machine**, so only ratios within a round mean much: {', '.join(busy)}.\n\n"


if __name__ == "__main__":
    main()
