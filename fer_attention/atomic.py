"""Write files atomically: a path holds the whole new content or the old one."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from secrets import token_hex

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors that say that a file finds no room: on the disk, in a quota, below a limit."""

_LONGEST = 255  # bytes in the name of a file, on most systems
_SUFFIX = 20  # characters of the longest suffix that means anything


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that `path` holds all of `content` or, after any failure, what it held before.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` if the block succeeds.

    It lies in the same folder and has the same suffix; `leftovers` finds it after a kill. It is flushed to
    the disk, then renamed. After an error it is deleted, and `path` holds what it held before.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "numbers.txt") as temporary:
    ...     with temporary.open("w") as file:
    ...         for number in range(3):
    ...             _ = file.write(f"{number} ")
    >>> (folder / "numbers.txt").read_text()
    '0 1 2 '

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Cannot write {path}: the folder {path.parent} does not exist.")
    temporary = path.with_name(temporary_name(path.name))
    try:
        with errors_with_name(path):
            temporary.touch(exist_ok=False)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(error.filename) == str(temporary):
            with suppress(AttributeError):  # PyAV's errors have a fixed name
                error.filename = str(path)  # the name that the caller knows
        raise


@contextmanager
def errors_with_name(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add a file's name to the errors of a full disk, which come without one.

    >>> with errors_with_name("faces.csv"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'faces.csv'
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = os.fspath(path)
        raise


def temporary_name(name: str) -> str:
    """Return a new name for a temporary file with the suffix of a file; at most 255 bytes."""
    suffix = PurePath(name).suffix
    suffix = suffix if len(suffix) <= _SUFFIX else ""
    return f".{_start(name, suffix)}.{token_hex(4)}{suffix}"


def _start(name: str, suffix: str) -> str:
    """Return the part of a file's name that its temporary name has."""
    return shortened(name, _LONGEST - len(os.fsencode(f"..{'0' * 8}{suffix}")))


def shortened(name: str, most: int) -> str:
    """Cut a name off after at most so many bytes, between two characters."""
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name


def leftovers(folder: Path, suffix: str, *, of: Iterable[Path] | None = None) -> Iterator[Path]:
    """Find the temporary files with a suffix that kills left in a folder and below.

    Args:
        folder: The folder.
        suffix: Suffix of the files.
        of: The files whose temporary files are meant; None means all.
    """
    pattern = re.compile(rf"\.(.+)\.[0-9a-f]{{8}}{re.escape(suffix)}", re.DOTALL)
    starts = None if of is None else {path.with_name(_start(path.name, suffix)) for path in of}
    for path in folder.rglob(f".*{suffix}"):
        found = pattern.fullmatch(path.name)
        if found and (starts is None or path.with_name(found[1]) in starts):
            yield path
