"""Griffe extension of the site: examples in docstrings (`>>>`) become code blocks, not Markdown's quotes."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n *\S.*)*", re.M)  # with its output, up to an empty line
DOCTEST_OPTION = re.compile(r" *# doctest: .*")


def fenced(text: str) -> str:
    """Return a docstring with each example in a fence."""
    return EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


class FencedExamples(griffe.Extension):
    """Put the examples of every docstring into fences."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object that has been read."""
        if obj.docstring:
            obj.docstring.value = fenced(DOCTEST_OPTION.sub("", obj.docstring.value))
