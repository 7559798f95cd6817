"""Import optional libraries where they are used, and name the extra that installs a missing one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(extra: str, why: str) -> Iterator[None]:
    """Turn a failed import in the block into an error that names the extra.

    >>> with needs_extra("faces", "YuNet runs on OpenCV"):
    ...     import a_library_that_is_not_there
    Traceback (most recent call last):
    ImportError: YuNet runs on OpenCV: pip install 'fer_attention[faces]'.

    Args:
        extra: The extra of this package that installs the library.
        why: The feature and the library that it needs, for the message.

    Raises:
        ImportError: The library is missing.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{why}: pip install 'fer_attention[{extra}]'.") from error
