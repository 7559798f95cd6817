"""Photos of many requests, answered in small batches by a few threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class QueueFullError(RuntimeError):
    """More items are waiting than the queue holds."""


class BatchQueue(Generic[Item, Answer]):
    """Collect items that wait at the same time into batches and answer them in threads.

    An item that arrives while a thread is free is answered at once; items that arrive while all threads work
    are answered together.

    Args:
        answer: Gives one answer, or one exception, for each item of a batch. Called in several threads.
        workers: Number of threads.
        batch_size: Largest batch.
        capacity: Items that may wait; further ones are refused.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        *,
        workers: int,
        batch_size: int,
        capacity: int,
    ) -> None:
        self._answer = answer
        self._batch_size, self._capacity = batch_size, capacity
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._free = workers
        self._batches: set[asyncio.Task[None]] = set()
        share = max(1, torch.get_num_threads() // workers)
        self._pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,))

    def __len__(self) -> int:
        return len(self._waiting)

    async def submit(self, items: Sequence[Item]) -> list[Answer | Exception]:
        """Answer items, all of them or none.

        Raises:
            QueueFullError: There is no room for so many.
        """
        if len(self._waiting) + len(items) > self._capacity + self._free:
            raise QueueFullError(
                f"{len(self._waiting)} photos are waiting, and up to {self._capacity} may wait; "
                f"{len(items)} more were sent."
            )
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Answer]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        self._begin()
        answers: list[Answer | Exception] = []
        for answer in await asyncio.gather(*futures, return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        return answers

    def _begin(self) -> None:
        while self._free and self._waiting:
            share = -(-len(self._waiting) // self._free)  # all free threads get some
            size = min(len(self._waiting), self._batch_size, share)
            self._free -= 1
            task = asyncio.create_task(self._run([self._waiting.popleft() for _ in range(size)]))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)

    async def _run(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            wanted = [entry for entry in batch if not entry[1].cancelled()]  # its client has left
            items = [item for item, _ in wanted]
            loop = asyncio.get_running_loop()
            try:
                answers = await loop.run_in_executor(self._pool, self._answer, items) if items else []
            except Exception as error:
                answers = [error] * len(items)
            for (_, future), answer in zip(wanted, answers, strict=True):
                if future.cancelled():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        finally:
            self._free += 1
            self._begin()

    async def close(self) -> None:
        """Finish the batches in work and end the threads; items that wait are answered too."""
        while self._batches:
            await asyncio.gather(*self._batches)
        self._pool.shutdown()
