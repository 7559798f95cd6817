"""Any known data set by its path: readers by name, and recognition of layouts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fer_attention.bounded import cut
from fer_attention.data.labels import open_labels, relabel
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import OnError, PathLike, Source, open_source
from fer_attention.data.splits import split_names
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry, unknown_name

Load = TypeVar("Load", bound=Callable[..., FaceDataset])


@dataclass(frozen=True)
class Reader:
    """Functions that recognise and read one data set.

    Attributes:
        load: Takes the path and `on_error`, and options by keyword; gives the record.
        recognises: Whether an opened source has this set's layout; reads no more than names and a header.
        layout: What it looks for, in words, for the error if nothing fits.
        rank: Readers of layouts that fit many sets have a higher rank: asked only where no lower one fits.
        splits: Splits that it can give; empty where any is possible.
    """

    load: Callable[..., FaceDataset]
    recognises: Callable[[Source], bool]
    layout: str
    rank: int = 0
    splits: tuple[str, ...] = ()


FORMATS: Registry[Reader] = open_registry("data format")


def reader(
    name: str,
    *,
    recognises: Callable[[Source], bool],
    layout: str,
    rank: int = 0,
    splits: tuple[str, ...] = (),
) -> Callable[[Load], Load]:
    """Register a reading function in `FORMATS`; see `Reader` for the arguments."""

    def enter(load: Load) -> Load:
        FORMATS.register(name)(Reader(load, recognises, layout, rank, splits))
        return load

    return enter


def load_data(
    path: PathLike,
    *,
    data_format: str = "auto",
    labels: str | Path | Mapping[Any, Any] | None = None,
    on_error: OnError = "raise",
    **options: Any,
) -> FaceDataset:
    """Read a data set of any known layout.

    >>> faces = load_data("fer2013.zip")  # doctest: +SKIP
    >>> faces.split("private").images.shape  # doctest: +SKIP
    (3589, 48, 48)

    Args:
        path: A folder, a zip or tar file, or a table.
        data_format: A name in `FORMATS`, or `"auto"`: the reader that knows the names of the files or the
            header of the table; `table` and then `folder` if no other does.
        labels: Emotions by label as the data writes it, for what is not understood otherwise: a mapping, a
            YAML file of one, or the set whose numbers are meant (`data.labels.CODES`). None as an emotion
            leaves a label's images out.
        on_error: `"raise"` if files or rows cannot be used, or `"skip"` them and list them in `skipped`.
        **options: The reader's own, as its function documents them: `size`, `crop`, `target` and others.

    Raises:
        DataError: Nothing is there, no reader or more than one recognises it, or something is damaged.
        UnknownNameError: No reader has that name.
        TypeError: The reader has no such option.
    """
    given = None if labels is None else open_labels(labels)
    name = resolve_format(path, data_format)
    load = FORMATS[name].load
    check_options(options, load, f"the data format {name!r}")
    if given is not None and "labels" in inspect.signature(load).parameters:
        options["labels"], given = given, None
    try:
        data = load(path, on_error=on_error, **options)
        data = data if given is None else relabel(data, given)
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}") from error
    return replace(data, layout="; ".join(filter(None, [name, data.layout])))


def describe(data: FaceDataset) -> str:
    """Say in a line how a data set was understood: reader and labels, images by split, emotions.

    >>> import numpy as np
    >>> faces = FaceDataset(np.zeros((2, 8, 8), np.uint8), np.array([0, 1]), np.array(["a", "b"]),
    ...                     np.array(["train", "test"]), ("happy", "sad"), layout="folder; joy = happy")
    >>> describe(faces)
    'folder; joy = happy; 2 images: 1 train, 1 test; labels: happy, sad'
    """
    counts = ", ".join(f"{(data.splits == name).sum():,} {name}" for name in split_names(data))
    shown = "" if counts.endswith(" all") else f": {counts}"
    parts = (data.layout, f"{len(data):,} images{shown}", f"labels: {', '.join(data.label_names)}")
    return "; ".join(filter(None, parts))


def check_options(options: Iterable[str], function: Callable[..., Any], owner: str) -> None:
    """Raise a TypeError where a function has no such option; the nearest is in the message."""
    known = inspect.signature(function).parameters.keys() - {"path", "on_error", "data", "seed", "labels"}
    for option in options:
        if option not in known:
            raise TypeError(str(unknown_name(f"option of {owner}:", option, known)))


def resolve_format(path: PathLike, data_format: str) -> str:
    """Return the name of a known format; for `auto` the one that the data set has.

    Raises:
        DataError: The format is not recognised.
        UnknownNameError: There is no such format.
    """
    if data_format == "auto":
        return recognised_format(path)
    FORMATS[data_format]
    return data_format


def recognised_format(path: PathLike) -> str:
    """Return the name of the reader that recognises a layout; a DataError if there is not exactly one."""
    expected = "A data set is a folder, a zip or tar file, or a table such as a CSV file."
    fitting: list[str] = []
    with open_source(path, expected=expected) as source:
        for rank in sorted({known.rank for known in FORMATS.values()}):
            ranked = [name for name in FORMATS if FORMATS[name].rank == rank]
            if fitting := [name for name in ranked if FORMATS[name].recognises(source)]:
                break
        if not fitting and source.images():  # the last reader says what is wrong with them
            fitting = [max(FORMATS, key=lambda name: FORMATS[name].rank)]
        shown = cut(", ".join(source.names[:3])) or "nothing"
        count = len(source.names)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(f"{path} looks like {' and '.join(fitting)}. Say which: data_format={fitting[0]!r}.")
    looked_for = "; ".join(f"{name}: {FORMATS[name].layout}" for name in FORMATS)
    raise DataError(
        f"{path} has no known layout. Files there: {count} ({shown}{', …' if count > 3 else ''}). "
        f"Looked for {looked_for}. Pass data_format= if it is one of these."
    )
