"""The record of a benchmark of attention's cost: what is kept, checked, and turned into tables.

`schema.json` is the JSON Schema of `Record`, written by `python benchmarks/cost_record.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fer_attention.atomic import write_atomically

HERE = Path(__file__).parent
SCHEMA = HERE / "schema.json"
RECORDS = HERE / "records" / "attention_cost"

Positive = Annotated[float, Field(gt=0)]
Section = Literal["blocks", "networks", "grid", "photo", "profile"]
Mode = Literal["inference", "training"]


class Part(BaseModel):
    """A part of a record: frozen, and without fields that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(Part):
    """Median and quartiles over the rounds."""

    median: Positive
    q25: Positive
    q75: Positive


class Ratio(Part):
    """Time of one candidate over that of another, round by round: the median and its 95 % interval."""

    of: str
    to: str
    median: Positive
    low: Positive
    high: Positive


class Memory(Part):
    """MiB of tensors: parameters, buffers and input, and the most that a call adds to them."""

    held_mib: float = Field(ge=0)
    added_mib: float = Field(ge=0)
    resident_added_mib: float | None = Field(
        default=None, description="what a fresh process's resident set grew by in such a call"
    )

    @property
    def peak_mib(self) -> float:
        """The whole."""
        return self.held_mib + self.added_mib


class Measured(Part):
    """One candidate: `cbam fused`, or in the section photo a library."""

    name: str
    ms: Spread | None = Field(default=None, description="milliseconds of a call")
    memory: Memory | None = None
    parameters: int | None = Field(default=None, ge=0)
    macs: int | None = Field(default=None, ge=0, description="multiply-accumulates of one image")

    @property
    def attention(self) -> str:
        """The first word of the name."""
        return self.name.split()[0]

    @property
    def way(self) -> str:
        """The second word of the name, if it has one."""
        return self.name.partition(" ")[2]


class Case(Part):
    """Candidates that were timed side by side."""

    subject: str = Field(description="a backbone; 'block' for blocks alone; 'photo' or 'face'")
    mode: Mode
    size: int = Field(gt=0, description="height and width of the images, in pixels")
    shape: tuple[int, ...] = Field(description="of the input: (N, C, H, W)")
    rounds: int = Field(ge=1)
    base: str | None = Field(default=None, description="the candidate that ratios are stated to")
    candidates: tuple[Measured, ...]
    ratios: tuple[Ratio, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict, description="candidate: why it has no numbers")
    facts: dict[str, int | float | str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_known(self) -> Case:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.key}: a candidate is listed twice: {', '.join(names)}.")
        named = {name for one in self.ratios for name in (one.of, one.to)}
        named |= {self.base} if self.base else set()
        if unknown := sorted(named - set(names)):
            raise ValueError(f"{self.key}: no candidate {', '.join(unknown)}; known: {', '.join(names)}.")
        return self

    @property
    def key(self) -> tuple[str, str, int, tuple[int, ...]]:
        """What no two cases of one machine and setting have in common."""
        return self.subject, self.mode, self.size, self.shape

    def find(self, name: str) -> Measured | None:
        """A candidate by name."""
        return next((one for one in self.candidates if one.name == name), None)

    def ratio(self, of: str, to: str) -> Ratio | None:
        """A ratio by both names; stated the other way round, it is turned."""
        for one in self.ratios:
            if (one.of, one.to) == (of, to):
                return one
            if (one.of, one.to) == (to, of):
                return Ratio(of=of, to=to, median=1 / one.median, low=1 / one.high, high=1 / one.low)
        return None


class Operator(Part):
    """Time in one operator, without what it calls."""

    name: str
    calls: Positive = Field(description="in one step")
    self_ms: float = Field(ge=0, description="in one step")


class Profile(Part):
    """Where the time of a step goes."""

    candidate: str
    subject: str
    mode: Mode
    size: int
    batch: int
    total_ms: Positive
    operators: tuple[Operator, ...]


class Environment(Part):
    """Machine and versions."""

    model_config = ConfigDict(frozen=True, extra="allow")

    fer_attention: str
    torch: str
    timm: str
    python: str
    device: str
    threads: int
    cpu_capability: str
    processor: str
    cores: int
    system: str


class Settings(Part):
    """What was asked for."""

    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16", "autocast"]
    activation: Literal["relu", "elu"]
    memory_format: Literal["channels_last", "contiguous"]
    rounds: int = Field(ge=1)
    seconds: float
    warmup: int = Field(ge=1)
    least_ms: float
    seed: int


class Record(Part):
    """One run of `attention_cost.py`."""

    version: Literal[1] = 1
    section: Section
    command: str
    minutes: float
    environment: Environment
    settings: Settings
    cases: tuple[Case, ...] = ()
    profiles: tuple[Profile, ...] = ()
    notes: dict[str, str] = Field(default_factory=dict)


def read_records(folder: Path = RECORDS) -> dict[str, Record]:
    """The records of a folder by file name, sorted.

    Raises:
        ValueError: A file is no such record, or two hold the same case.
    """
    records: dict[str, Record] = {}
    seen: dict[object, str] = {}
    for path in sorted(folder.glob("*.json")):
        record = Record.model_validate_json(path.read_bytes())
        for case in record.cases:
            settings = record.settings
            key = record.section, settings.device, settings.dtype, settings.activation, case.key
            if key in seen:
                raise ValueError(f"{path.name} and {seen[key]} both hold {key}; keep one of them.")
            seen[key] = path.name
        records[path.name] = record
    return records


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    text = json.dumps(record.model_dump(exclude_none=True), indent=1)
    write_atomically(path, text.encode() + b"\n")


def schema() -> str:
    """The JSON Schema of a record."""
    return json.dumps(Record.model_json_schema(), indent=1) + "\n"


if __name__ == "__main__":
    write_atomically(SCHEMA, schema().encode())
