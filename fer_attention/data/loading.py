"""Any known data set by its path: readers by name, and recognition of layouts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import OnError, PathLike, Source, open_source
from fer_attention.plugins import open_registry
from fer_attention.registry import Registry, unknown_name

Load = TypeVar("Load", bound=Callable[..., FaceDataset])

FALLBACK = "folder"  # folders of emotions fit many sets: asked only when no other reader knows the layout


@dataclass(frozen=True)
class Reader:
    """Functions that recognise and read one data set.

    Attributes:
        load: Takes the path and `on_error`, and options by keyword; gives the record.
        recognises: Whether an opened source has this set's layout; reads no more than names and a header.
        layout: What it looks for, in words, for the error if nothing fits.
        splits: Splits that it can give; empty where any is possible.
    """

    load: Callable[..., FaceDataset]
    recognises: Callable[[Source], bool]
    layout: str
    splits: tuple[str, ...] = ()


FORMATS: Registry[Reader] = open_registry("data format")


def reader(
    name: str, *, recognises: Callable[[Source], bool], layout: str, splits: tuple[str, ...] = ()
) -> Callable[[Load], Load]:
    """Register a reading function in `FORMATS`; see `Reader` for the arguments."""

    def enter(load: Load) -> Load:
        FORMATS.register(name)(Reader(load, recognises, layout, splits))
        return load

    return enter


def load_data(
    path: PathLike, *, data_format: str = "auto", on_error: OnError = "raise", **options: Any
) -> FaceDataset:
    """Read a data set of any known layout.

    Args:
        path: A folder, a zip file or a CSV file.
        data_format: A name in `FORMATS`, or `"auto"`: the reader that knows the names of the files or the
            header of the CSV file, `folder` if no other does.
        on_error: `"raise"` on what cannot be used, or `"skip"` it and list it in `skipped`.
        **options: The reader's own, as its function documents them: `size`, `crop`, `target` and others.

    Raises:
        DataError: Nothing is there, no reader or more than one recognises it, or something is damaged.
        UnknownNameError: No reader has that name.
        TypeError: The reader has no such option.
    """
    name = recognised_format(path) if data_format == "auto" else data_format
    load = FORMATS[name].load
    check_options(options, load, f"the data format {name!r}")
    return load(path, on_error=on_error, **options)


def check_options(options: Iterable[str], function: Callable[..., Any], owner: str) -> None:
    """Raise a TypeError where a function has no such option; the nearest is in the message."""
    known = inspect.signature(function).parameters.keys() - {"path", "on_error", "data", "seed"}
    for option in options:
        if option not in known:
            raise TypeError(str(unknown_name(f"option of {owner}:", option, known)))


def recognised_format(path: PathLike) -> str:
    """Return the name of the reader that recognises a layout; a DataError if there is not exactly one."""
    expected = "A data set is a folder, a zip file or a CSV file."
    with open_source(path, expected=expected) as source:
        fitting = [name for name in FORMATS if name != FALLBACK and FORMATS[name].recognises(source)]
        if not fitting and FALLBACK in FORMATS and FORMATS[FALLBACK].recognises(source):
            fitting = [FALLBACK]
        shown = ", ".join(source.names[:3]) or "nothing"
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
