"""Outputs that a user names: files, links to files, pipes and devices, and standard output."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fer_attention.atomic import errors_with_name, replacing

STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""Names of standard output."""


def check_output(target: str | os.PathLike[str]) -> None:
    """Check before the work that an output can be written after it; make the folder of a file.

    Raises:
        IsADirectoryError: The target is a folder.
        OSError: The folder of the target cannot be made or written to.
    """
    path = Path(target)
    if os.fspath(target) in STDOUT or _is_stream(path):
        return
    if path.is_dir():
        raise IsADirectoryError(f"Cannot write {target}: it is a folder. Name a file in it.")
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"Cannot write {target}: the folder {path.parent} is read-only.")


@contextmanager
def output_file(target: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open an output for writing bytes.

    A regular file is replaced when the block ends, even with an error: it then has what was written so far. A
    link is followed. Pipes, devices and standard output are written to directly.

    >>> with output_file("-") as file:
    ...     _ = file.write(b"")

    Args:
        target: A path, or "-" for standard output.
    """
    if os.fspath(target) in STDOUT:
        with errors_with_name("standard output"):
            sys.stdout.flush()
            if hasattr(sys.stdout, "buffer"):
                yield sys.stdout.buffer
            else:  # standard output for text alone, as in notebooks
                text = io.BytesIO()
                yield text
                sys.stdout.write(text.getvalue().decode())
            sys.stdout.flush()
        return
    if _is_stream(Path(target)):
        with errors_with_name(target), Path(target).open("wb") as stream:
            yield stream
        return
    failure: BaseException | None = None
    with replacing(Path(os.path.realpath(target))) as temporary, temporary.open("wb") as file:
        try:
            yield file
        except BaseException as error:
            failure = error  # raised once the file is in its place
    if failure is not None:
        with errors_with_name(target):
            raise failure


def _is_stream(path: Path) -> bool:
    """Return True for pipes and devices, and for links to what this process has open."""
    opened = os.fspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))
    return opened or (path.exists() and not path.is_file() and not path.is_dir())
