"""Optional libraries load where they are used; their absence names the extra that brings them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(extra: str, why: str) -> Iterator[None]:
    """An import of an optional library goes inside.

    >>> with needs_extra("faces", "YuNet runs on OpenCV"):
    ...     import a_library_that_is_not_there
    Traceback (most recent call last):
    ImportError: YuNet runs on OpenCV: pip install 'fer_attention[faces]'.

    Args:
        extra: The extra of this package that brings the library.
        why: What needs which library, the message's first half.

    Raises:
        ImportError: The library is missing.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{why}: pip install 'fer_attention[{extra}]'.") from error
