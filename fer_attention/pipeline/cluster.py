"""Photos on a Ray cluster: paths or a bucket in, a folder of Parquet files out, failures as rows."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_attention.faces.decoding import is_address
from fer_attention.faces.images import ImageSource
from fer_attention.faces.photo_files import is_image_name, is_junk, list_photos
from fer_attention.optional import needs_extra
from fer_attention.pipeline.photos import CHUNK, PhotoWorker
from fer_attention.pipeline.results import rows, source_name
from fer_attention.pipeline.writers import Record, parquet_schema
from fer_attention.threads import in_chunks

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

BLOCK = 64
"""Photos that an actor takes at once; those of an actor that died are done again by another."""

_DEATHS = 3  # that a block of photos may survive; after more, one of them is taken to be the cause


@dataclass(frozen=True)
class ClusterResult:
    """Counts of a run on a cluster.

    >>> ClusterResult(photos=1000, failed=2, without_face=30).failed
    2

    Attributes:
        photos: Photos in the table.
        failed: Those that could not be read; their rows have an `error`.
        without_face: Those in which no face was found.
    """

    photos: int
    failed: int
    without_face: int


def list_addresses(photos: Iterable[str]) -> list[str]:
    """List paths and addresses of photos; folders, buckets and patterns are replaced by the photos in them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "one.jpg").touch()
    ...     [Path(one).name for one in list_addresses([folder])]
    ['one.jpg']

    Args:
        photos: Paths, or addresses that PyArrow knows (s3://, gs://, abfs://, hdfs://, file://); * stands for
            any characters in an address.

    Raises:
        ValueError: No photo was found.
        OSError: An address cannot be listed.
    """
    found: dict[str, None] = {}
    for photo in photos:
        if is_address(photo):
            found |= dict.fromkeys(_below(photo))
        else:
            found |= {os.path.abspath(path): None for path in list_photos([Path(photo)]).photos}
    return list(found)


def predict_on_cluster(
    photos: Sequence[str],
    output: str,
    worker: PhotoWorker,
    *,
    actors: int | None = None,
    address: str | None = None,
) -> ClusterResult:
    """Recognise photos in the actors of a Ray cluster and write a folder of Parquet files.

    Each row is a face, or a photo without a face or with an `error`, as in `predict --parquet`. The actors
    receive the recogniser. If one of them dies, its photos are done again.

    Args:
        photos: As `list_addresses` returns them. All machines must be able to read them.
        output: A new or empty folder, or the address of one in a bucket.
        worker: Recognises chunks of photos; photos that cannot be read become rows with an error.
        actors: Number of actors; by default one for each CPU of the cluster.
        address: Address of a running cluster (`auto` finds the one of this machine). None starts one with as
            many CPUs as actors (2 by default), and stops it at the end.

    Raises:
        ValueError: The output holds files, or actors is below 1.
        ImportError: Ray is not installed.
        RuntimeError: The work failed on the cluster.
    """
    if actors is not None and actors < 1:
        raise ValueError(f"workers is at least 1; got {actors}.")
    with needs_extra("ray", "The runner ray needs Ray"):
        import ray
        import ray.data
    output = output if is_address(output) else os.path.abspath(output)
    _require_empty(output)
    own: dict[str, Any] = {} if address else {"num_cpus": actors or 2, "include_dashboard": False}
    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **own)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        size = actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
        items = [{"photo": os.fsencode(photo)} for photo in photos]  # names need not be UTF-8
        on_gpu = str(getattr(worker.recognizer.classifier, "device", "cpu")).startswith("cuda")
        ray.data.from_items(items, override_num_blocks=-(-len(items) // BLOCK)).map_batches(
            _Actor,
            fn_constructor_kwargs={"worker": worker},
            batch_size=BLOCK,
            batch_format="pyarrow",
            concurrency=size,
            num_cpus=1,
            num_gpus=int(on_gpu),
            **_bounded_deaths(ray.data.Dataset.map_batches),
        ).write_parquet(output)
    except ray.exceptions.RayError as error:
        raise RuntimeError(
            f"The work failed on the cluster: {str(error).strip().splitlines()[-1]}"
        ) from error
    finally:
        ray.shutdown()
    return _counts(output)


def _bounded_deaths(map_batches: Callable[..., Any]) -> dict[str, Any]:
    """Return the argument that bounds the deaths of actors; Ray 2.64 drops it, and repeats without end."""
    name = "ray_remote_args_fn"
    known = name in inspect.signature(map_batches).parameters
    return {name: lambda: {"max_task_retries": _DEATHS}} if known else {}


class _Actor:
    """Holds a recogniser, and turns paths and addresses of photos into rows."""

    def __init__(self, worker: PhotoWorker) -> None:
        self._worker = worker

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        photos = [os.fsdecode(photo) for photo in batch["photo"].to_pylist()]
        records = [record for chunk in in_chunks(photos, CHUNK) for record in self._records(chunk)]
        schema = parquet_schema(self._worker.recognizer.labels)
        return pa.Table.from_pylist([row for record in records for row in rows(record)], schema=schema)

    def _records(self, photos: Sequence[str]) -> list[Record]:
        names = [source_name(photo, 0) for photo in photos]
        records: dict[int, Record] = {}
        sources: list[tuple[int, ImageSource]] = []
        for number, (photo, name) in enumerate(zip(photos, names, strict=True)):
            try:
                sources.append((number, _content(photo) if is_address(photo) else photo))
            except (OSError, ValueError) as error:
                records[number] = {"image": name, "error": f"Cannot read {name!r}: {error}"}
        for (number, source), answer in zip(sources, self._worker(sources), strict=True):
            record = {"error": str(answer)} if isinstance(answer, Exception) else answer.to_dict()
            if isinstance(source, bytes) and "error" in record:
                record["error"] = record["error"].replace("the bytes of an image file", repr(names[number]))
            records[number] = {**record, "image": names[number]}
        return [records[number] for number in range(len(photos))]


def _file_system(address: str) -> tuple[FileSystem, str]:
    from pyarrow.fs import FileSystem

    system: FileSystem
    system, path = FileSystem.from_uri(address)
    return system, path


def _content(address: str) -> bytes:
    system, path = _file_system(address)
    with system.open_input_file(path) as file:
        content: bytes = file.read()
    return content


def _below(address: str) -> list[str]:
    """List the images at an address, in order of their names."""
    from pyarrow.fs import FileSelector, FileType

    pattern, mark, options = address.partition("?")  # such as s3://bucket/photos?region=eu-west-1
    start = pattern.partition("*")[0].rpartition("/")[0] if "*" in pattern else pattern.rstrip("/")
    system, path = _file_system(start + mark + options)
    if system.get_file_info(path).type == FileType.File:
        return [address]
    scheme = start.removesuffix(path)
    files = [info.path for info in system.get_file_info(FileSelector(path, recursive=True)) if info.is_file]
    images = sorted(
        file for file in files if is_image_name(file) and not is_junk(file.removeprefix(f"{path}/"))
    )
    found = [scheme + file for file in images if "*" not in pattern or fnmatchcase(scheme + file, pattern)]
    if not found:
        raise ValueError(f"{address} contains no image file.")
    return [file + mark + options for file in found]


def _require_empty(output: str) -> None:
    from pyarrow.fs import FileSelector

    system, path = _file_system(output)
    if system.get_file_info(FileSelector(path, allow_not_found=True)):
        raise ValueError(f"{output} holds files. Name a new folder for the Parquet files of a cluster.")


def _counts(output: str) -> ClusterResult:
    from pyarrow import compute, dataset

    system, path = _file_system(output)
    table = dataset.dataset(path, filesystem=system, format="parquet")
    failed = compute.field("error").is_valid()
    first = compute.field("face") == 1
    failures, with_face = table.count_rows(filter=failed), table.count_rows(filter=first)
    without = table.count_rows(filter=~failed & compute.field("face").is_null())
    return ClusterResult(failures + with_face + without, failures, without)
