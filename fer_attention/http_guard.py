"""Checks of HTTP requests that the package's servers share: their origin, and the size of their bodies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]


def foreign_origin(headers: Mapping[str, str]) -> str | None:
    """Return the origin of a request that a page of another server sends, or None.

    Browsers send such requests to this machine without asking the person in front of them.

    >>> foreign_origin({"host": "127.0.0.1:8000", "origin": "https://example.org"})
    'https://example.org'
    >>> foreign_origin({"host": "127.0.0.1:8000"}) is None
    True
    """
    origin = headers.get("origin")
    return origin if origin and urlsplit(origin).netloc != headers.get("host") else None


def bounded(receive: Receive, most: int, too_large: Callable[[], Exception]) -> Receive:
    """Return a request's `receive` that raises once the body has more than `most` bytes.

    Args:
        receive: The request's own.
        most: Largest size in bytes.
        too_large: Makes the exception.
    """
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise too_large()
        return message

    return limited
