"""Limits for the cost of attention, and a check of the records against them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from candidates import OURS
from cost_record import Case, Record

MET, MISSED, NOT_MEASURED = "met", "**missed**", "not measured"


@dataclass(frozen=True)
class Bar:
    """A limit on a ratio of two candidates of one case.

    Attributes:
        section: Section of the case: `networks` or `blocks`.
        device: `"cpu"` or `"cuda"`.
        attention: Our block, in the variant that a model uses by default; `"none"` for the network without.
        to: The candidate to compare with.
        limit: Largest accepted ratio; for `speedup` the smallest.
        kind: `"time"` and `"memory"` are ours over the other, `"speedup"` is the other's time over ours.
        mode: `"training"` or `"inference"`.
        size: Height and width of the images in pixels; None for every size.
        batch: Number of images; None for any number.
    """

    section: str
    device: str
    attention: str
    to: str
    limit: float
    kind: str = "time"
    mode: str = "training"
    size: int | None = None
    batch: int | None = None

    @property
    def subject(self) -> str:
        """Subject of the cases that the bar applies to."""
        return "block" if self.section == "blocks" else "resnet50"

    @property
    def text(self) -> str:
        """Description of the bar, for the table."""
        where = "block alone" if self.section == "blocks" else f"ResNet-50 {self.size}×{self.size}"
        other = "timm's" if self.to.endswith("timm") else "the plain network's"
        what = {
            "time": f"{self.mode}: time over {other} ≤",
            "memory": f"{self.mode}: peak memory over {other} ≤",
            "speedup": f"{self.mode}: {other} time over ours ≥",
        }
        ours = "No attention" if self.attention == "none" else self.attention.upper()
        return f"{ours}, {where}, {what[self.kind]} {self.limit:.2f}"

    def holds_for(self, record: Record, case: Case) -> bool:
        """Return whether the bar applies to the case."""
        settings = record.settings
        right_type = settings.dtype == "float32" if self.device == "cpu" else settings.dtype != "float32"
        return (
            record.section == self.section
            and settings.device == self.device
            and (right_type or self.section == "blocks")
            and settings.memory_format == "channels_last"
            and (case.subject, case.mode) == (self.subject, self.mode)
            and self.size in (None, case.size)
            and self.batch in (None, case.shape[0])
        )


def _bars() -> Iterator[Bar]:
    cpu = {
        "training": {"se": 1.06, "eca": 1.05, "cbam": 1.20},
        "inference": {"se": 1.04, "eca": 1.02, "cbam": 1.10},
    }
    for mode, on_cpu in cpu.items():
        for attention, limit in on_cpu.items():
            yield Bar("networks", "cpu", attention, "none plain", limit, mode=mode, size=80, batch=32)
    yield Bar("networks", "cpu", "none", "none timm", 1.02, mode="inference", size=80, batch=32)
    yield Bar("blocks", "cpu", "cbam", "cbam timm", 2.5, kind="speedup")
    yield Bar("networks", "cpu", "cbam", "none plain", 1.10, kind="memory", size=80, batch=32)
    on_gpu = {"se": 1.06, "eca": 1.06, "cbam": 1.12}
    for mode, attention in product(("training", "inference"), on_gpu):
        yield Bar("networks", "cuda", attention, "none plain", on_gpu[attention], mode=mode, size=224)
        yield Bar("networks", "cuda", attention, f"{attention} timm", 1.0, mode=mode, size=224)
    yield Bar("blocks", "cuda", "cbam", "cbam timm", 3.0, kind="speedup")
    yield Bar("networks", "cuda", "cbam", "none plain", 1.10, kind="memory", size=224)


BARS = tuple(_bars())


@dataclass(frozen=True)
class Verdict:
    """A bar and one case of a record.

    Attributes:
        bar: The bar.
        record: File name of the record; empty if nothing was measured.
        case: The case.
        ours: Name of our candidate.
        value: The ratio; None if nothing was measured.
        interval: 95 % interval of the ratio, if it has one.
    """

    bar: Bar
    record: str = ""
    case: Case | None = None
    ours: str = ""
    value: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def word(self) -> str:
        """Verdict by the median: met, missed, or not measured."""
        if self.value is None:
            return NOT_MEASURED
        good = self.value >= self.bar.limit if self.bar.kind == "speedup" else self.value <= self.bar.limit
        return MET if good else MISSED


def own_candidate(names: Iterable[str], attention: str) -> str | None:
    """Return the name of our candidate to compare: a model's default, else fused, else plain."""
    known = set(names)
    return next((f"{attention} {variant}" for variant in OURS[:3] if f"{attention} {variant}" in known), None)


def verdicts(records: Mapping[str, Record], bars: Iterable[Bar] = BARS) -> list[Verdict]:
    """Judge each bar on every case that it applies to; without a case the verdict has no value."""
    found: list[Verdict] = []
    for bar in bars:
        fitting = [
            verdict
            for name, record in records.items()
            for case in record.cases
            if bar.holds_for(record, case) and (verdict := _verdict(bar, name, case)) is not None
        ]
        found += fitting or [Verdict(bar)]
    return found


def _verdict(bar: Bar, name: str, case: Case) -> Verdict | None:
    ours = own_candidate((one.name for one in case.candidates), bar.attention)
    if ours is None:
        return None
    if bar.kind == "memory":
        mine, other = case.find(ours), case.find(bar.to)
        if mine is None or other is None or mine.memory is None or other.memory is None:
            return None
        return Verdict(bar, name, case, ours, mine.memory.peak_mib / other.memory.peak_mib)
    ratio = case.ratio(bar.to, ours) if bar.kind == "speedup" else case.ratio(ours, bar.to)
    if ratio is None:
        return None
    return Verdict(bar, name, case, ours, ratio.median, (ratio.low, ratio.high))
