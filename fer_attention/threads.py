"""Ordered, bounded work in threads: the engine behind streams and folders of photos."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

In = TypeVar("In")
Out = TypeVar("Out")

MAX_WORKERS = 8
"""Default upper bound of threads: decoding more photos at once costs memory and gains little."""


def default_workers() -> int:
    """Return the number of processor cores that this process may use, at most `MAX_WORKERS`."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MAX_WORKERS)


def in_chunks(items: Iterable[In], size: int) -> Iterator[list[In]]:
    """Split items into lists of `size`; the last one may be shorter.

    >>> list(in_chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def map_in_threads(
    function: Callable[[In], Out], items: Iterable[In], *, workers: int, ahead: int = 1
) -> Iterator[Out]:
    """Apply a function to items in threads and yield the results in the order of the items.

    At most `workers + ahead` items are in work or waiting to be taken, so memory stays bounded for any number
    of items, and items are read only as they are needed. An error is raised at its position in the order.

    >>> list(map_in_threads(str.upper, "abc", workers=2))
    ['A', 'B', 'C']

    Args:
        function: Called in several threads at once. With one job it is called in this thread.
        items: The items, for instance chunks of photos.
        workers: Number of threads. Each gives PyTorch its share of the cores.
        ahead: Results that may wait for the reader.
    """
    if workers == 1:
        yield from map(function, items)
        return
    before = torch.get_num_threads()
    share = max(1, before // workers)
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,))
    waiting: deque[Future[Out]] = deque()
    iterator = iter(items)
    try:
        for item in iterator:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= workers + ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # the threads' share was also the default of threads made later
