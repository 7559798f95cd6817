"""Write files atomically: a path holds the whole new content or the old one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex


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

    It lies in the same folder and has the same suffix. It is flushed to the disk, then renamed. After an
    error it is deleted, and `path` holds what it held before.

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
    temporary = path.with_name(f".{path.name}.{token_hex(4)}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
