"""Values in messages: shown with a bound, whatever their size."""

from __future__ import annotations

import reprlib

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxdict, _REPR.maxlist, _REPR.maxtuple, _REPR.maxset = 3, 6, 8, 8, 8
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 100


def bounded(value: object, *, limit: int = 200) -> str:
    """Return the repr of a value, cut to `limit` characters; large values are not written out on the way.

    >>> bounded([1, 2]), len(bounded(["x" * 10**6] * 10**6))
    ('[1, 2]', 200)
    """
    try:
        text = _REPR.repr(value)
    except ValueError:  # an integer of more digits than Python converts to text
        text = f"a {type(value).__name__} too large to show"
    return cut(text, limit)


def cut(text: str, limit: int = 200) -> str:
    """Shorten a text in its middle to at most `limit` characters.

    >>> cut("backbone.layer1.0.conv1.weight", 15)
    'backbon….weight'
    """
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[: limit - 1 - half]}…{text[-half:]}"
