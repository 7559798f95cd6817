"""The inputs of attention blocks, seen while a model runs, without hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from torch import Tensor

Watcher: TypeAlias = Callable[[Any, Tensor], None]
"""Function of a block and its input."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_inputs(watcher: Watcher) -> Iterator[None]:
    """Call a function with each attention block that runs, and with the block's input.

    No hooks are set, so every block runs the implementation, plain or fused, that it would run anyway. A
    block inside another block is reported only if it is called. Use evaluation mode: the fused implementation
    repeats the norm for the watcher, which in training mode would count the batch twice.

    >>> import torch
    >>> from fer_attention import create_attention
    >>> with watch_inputs(lambda block, x: print(type(block).__name__, tuple(x.shape))):
    ...     y = create_attention("eca", channels=8)(torch.zeros(1, 8, 4, 4))
    ECABlock (1, 8, 4, 4)
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def current_watcher() -> Watcher | None:
    """Return the function of the innermost `watch_inputs` around this code; None outside."""
    return _watcher.get()
