"""A registry of named entries: each is registered beside its definition and looked up by name.

>>> SHAPES = Registry("shape")
>>> @SHAPES.register("circle")
... class Circle: ...
>>> SHAPES["circle"] is Circle
True
>>> SHAPES["circel"]
Traceback (most recent call last):
fer_attention.registry.UnknownNameError: Unknown shape 'circel'. Did you mean 'circle'? Known: circle.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from fer_attention.bounded import bounded, cut

T = TypeVar("T")


class UnknownNameError(ValueError, KeyError):
    """No entry has this name. Both a ValueError and a KeyError, so that either handler works."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that is not in `known`, with the nearest name and up to 30 known ones."""
    known, shown = sorted(known), bounded(name)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5) if isinstance(name, str) else []
    near = [cut(one, 60) for one in near]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if len(known) <= 30:
        names = ", ".join(cut(one, 60) or "''" for one in known)
        return UnknownNameError(f"Unknown {kind} {shown}.{hint} Known: {names or 'none'}.")
    others = f" Also near: {', '.join(near[1:])}." if near[1:] else ""
    return UnknownNameError(f"Unknown {kind} {shown}.{hint}{others} {len(known)} are known.")


def check_choice(kind: str, value: object, allowed: Iterable[str]) -> None:
    """Check that a value is one of the allowed names.

    >>> check_choice("colour", "grene", ("green", "red"))
    Traceback (most recent call last):
    fer_attention.registry.UnknownNameError: Unknown colour 'grene'. Did you mean 'green'? Known: green, red.

    Raises:
        UnknownNameError: It is none of them; the message has the nearest one.
    """
    if value not in (names := tuple(allowed)):
        raise unknown_name(kind, value, names)


class Registry(Mapping[str, T]):
    """A mapping from names to entries of one kind, in sorted order.

    Args:
        kind: The kind of entry, in the singular, for messages ("Unknown attention 'cbma'.").
        before_lookup: Called before every lookup; it may register further entries.
        check: Called with each new entry; it raises a TypeError if the entry breaks the contract of its kind.

    Attributes:
        on_register: Functions to call after each new entry.
    """

    def __init__(
        self,
        kind: str,
        *,
        before_lookup: Callable[[], None] | None = None,
        check: Callable[[T], None] | None = None,
    ) -> None:
        self.kind = kind
        self._check = check
        self.on_register: list[Callable[[], None]] = []
        self._before_lookup = before_lookup
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object under `name`.

        Raises:
            ValueError: `name` is taken, or is not lower case without blanks, dots and slashes.
            TypeError: The object breaks the contract of its kind.
        """
        if name != name.lower().strip() or not name or set(name) & set(" ./"):
            raise ValueError(
                f"A {self.kind} name is lower case without blanks, dots and slashes; got {name!r}."
            )

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(
                    f"The {self.kind} {name!r} is already registered, as {self._entries[name]!r}. "
                    "Choose another name."
                )
            if self._check is not None:
                try:
                    self._check(entry)
                except TypeError as error:
                    raise TypeError(f"The {self.kind} {name!r} cannot be registered: {error}") from error
            self._entries[name] = entry
            for notify in self.on_register:
                notify()
            return entry

        return enter

    def _loaded(self) -> dict[str, T]:
        if self._before_lookup is not None:
            self._before_lookup()
        return self._entries

    def __getitem__(self, name: str) -> T:
        entries = self._loaded()
        try:
            return entries[name]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, name, entries) from None

    def __contains__(self, name: object) -> bool:
        return name in self._loaded()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._loaded()))

    def __len__(self) -> int:
        return len(self._loaded())

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(self)})"
