"""A registry: put a thing beside its definition, look it up by name, refuse duplicates.

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

T = TypeVar("T")


class UnknownNameError(ValueError, KeyError):
    """A name that no registry entry has. Both a ValueError and a KeyError, so either handler works."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among `known`: says the nearest ones, and all where they are few."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if len(known) <= 30:
        return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}.")
    others = f" Also near: {', '.join(near[1:])}." if near[1:] else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint}{others} {len(known)} are known.")


class Registry(Mapping[str, T]):
    """Named things of one kind, in sorted order.

    Args:
        kind: What the entries are, in the singular: used in messages ("Unknown attention 'cbma'.").
        before_look: Called whenever an entry is looked for, to enter what is still to come.

    Attributes:
        on_register: Functions that are called after each new entry.
    """

    def __init__(self, kind: str, *, before_look: Callable[[], None] | None = None) -> None:
        self.kind = kind
        self.on_register: list[Callable[[], None]] = []
        self._before_look = before_look
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters the decorated object under `name`.

        Raises:
            ValueError: `name` is taken, or is not lower case without blanks and dots.
        """
        if name != name.lower().strip() or not name or set(name) & set(" ./"):
            raise ValueError(
                f"A {self.kind} name is lower case without blanks, dots and slashes; got {name!r}."
            )

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(
                    f"The {self.kind} {name!r} is registered already, as {self._entries[name]!r}. "
                    "Choose another name."
                )
            self._entries[name] = entry
            for tell in self.on_register:
                tell()
            return entry

        return enter

    def _look(self) -> dict[str, T]:
        if self._before_look is not None:
            self._before_look()
        return self._entries

    def __getitem__(self, name: str) -> T:
        entries = self._look()
        try:
            return entries[name]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, name, entries) from None

    def __contains__(self, name: object) -> bool:
        return name in self._look()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._look()))

    def __len__(self) -> int:
        return len(self._look())

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(self)})"
