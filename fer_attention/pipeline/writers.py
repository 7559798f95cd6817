"""Files of answers in JSON, JSON Lines, CSV or Parquet, written photo by photo."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from fer_attention.optional import needs_extra
from fer_attention.outputs import STDOUT, check_output, output_file
from fer_attention.pipeline.results import columns, rows

if TYPE_CHECKING:
    import pyarrow as pa

Record: TypeAlias = dict[str, Any]
Add: TypeAlias = Callable[[Record], None]

_GROUP = 10_000  # rows that Parquet writes together


@contextmanager
def _json(file: IO[bytes], labels: Sequence[str]) -> Iterator[Add]:
    separator = "[\n"

    def add(record: Record) -> None:
        nonlocal separator
        file.write((separator + json.dumps(record)).encode())
        separator = ",\n"

    try:
        yield add
    finally:
        file.write(b"[]\n" if separator == "[\n" else b"\n]\n")


@contextmanager
def _json_lines(file: IO[bytes], labels: Sequence[str]) -> Iterator[Add]:
    def add(record: Record) -> None:
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()  # for a reader that follows the file

    yield add


@contextmanager
def _csv(file: IO[bytes], labels: Sequence[str]) -> Iterator[Add]:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, columns(labels), lineterminator="\n")
    writer.writeheader()
    try:
        yield lambda record: writer.writerows(rows(record))
    finally:
        text.detach()


def parquet_schema(labels: Sequence[str]) -> pa.Schema:
    """Return names and types of the columns of Parquet files for a model with these emotions."""
    import pyarrow as pa

    kinds = {"image": pa.string(), "error": pa.string(), "emotion": pa.string()}
    kinds |= {"unsure": pa.bool_(), "candidates": pa.string()}
    kinds |= {"width": pa.int32(), "height": pa.int32(), "face": pa.int32()}
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in columns(labels)])


@contextmanager
def _parquet(file: IO[bytes], labels: Sequence[str]) -> Iterator[Add]:
    import pyarrow as pa
    from pyarrow import parquet

    schema = parquet_schema(labels)
    waiting: list[Record] = []
    with parquet.ParquetWriter(file, schema) as writer:

        def write() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
            waiting.clear()

        def add(record: Record) -> None:
            waiting.extend(rows(record))
            if len(waiting) >= _GROUP:
                write()

        try:
            yield add
        finally:
            write()


_WRITERS: Mapping[str, Callable[[IO[bytes], Sequence[str]], AbstractContextManager[Add]]] = {
    "json": _json,
    "jsonl": _json_lines,
    "csv": _csv,
    "parquet": _parquet,
}
FORMATS = tuple(_WRITERS)


def check_targets(targets: Mapping[str, str]) -> None:
    """Check before the work that the files of `open_writers` can be written after it.

    Raises:
        OSError: A target is a folder, or its folder does not exist or cannot be written to.
        ValueError: Several formats go to standard output.
        ImportError: pyarrow, which writes Parquet, is not installed.
    """
    for target in targets.values():
        check_output(target)
    printed = [kind for kind, target in targets.items() if target in STDOUT]
    if len(printed) > 1:
        raise ValueError(f"Only one format can go to standard output; got {' and '.join(printed)}.")
    if "parquet" in targets:
        with needs_extra("faces", "Parquet needs pyarrow"):
            import pyarrow.parquet  # noqa: F401


def encoded(kind: str, records: Iterable[Record], labels: Sequence[str]) -> bytes:
    r"""Return the content of a file of records.

    >>> encoded("jsonl", [{"image": "wall.jpg", "faces": []}], labels=["happy"])
    b'{"image": "wall.jpg", "faces": []}\n'

    Args:
        kind: "json", "jsonl", "csv" or "parquet".
        records: Records of photos, as `PhotoPrediction.to_dict` returns them.
        labels: Emotions of the model, which are columns of tables.
    """
    file = io.BytesIO()
    with _WRITERS[kind](file, labels) as add:
        for record in records:
            add(record)
    return file.getvalue()


@contextmanager
def open_writers(targets: Mapping[str, str], labels: Sequence[str]) -> Iterator[Add]:
    """Open files for the records of photos; what was added is kept even if the block ends with an error.

    Args:
        targets: A file, or "-" for standard output, by format: "json", "jsonl", "csv" or "parquet".
        labels: Emotions of the model, which are columns of tables.

    Yields:
        A function that adds the record of a photo, as `PhotoPrediction.to_dict` returns it, to all files.
    """
    with ExitStack() as stack:
        opened = []
        for kind, target in targets.items():
            file = stack.enter_context(output_file(target))
            opened.append(stack.enter_context(_WRITERS[kind](file, labels)))

        def add(record: Record) -> None:
            for one in opened:
                one(record)

        yield add
