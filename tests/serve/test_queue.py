"""Items of many requests in small batches."""

import asyncio
import threading

import pytest

from fer_attention.serve.queue import BatchQueue, QueueFullError


def queue_of(answer, *, workers=1, batch_size=4, capacity=100):
    return BatchQueue(answer, workers=workers, batch_size=batch_size, capacity=capacity)


def doubled(items):
    return [2 * item for item in items]


def test_answers_belong_to_their_items():
    async def run():
        queue = queue_of(doubled, workers=3)
        answers = await asyncio.gather(*(queue.submit([n, n + 1]) for n in range(40)))
        await queue.close()
        return answers

    assert asyncio.run(run()) == [[2 * n, 2 * n + 2] for n in range(40)]


def test_items_that_wait_are_answered_together():
    entered, release = threading.Event(), threading.Event()
    sizes = []

    def slow(items):
        sizes.append(len(items))
        entered.set()
        release.wait(timeout=60)
        return items

    async def run():
        queue = queue_of(slow, batch_size=4)
        first = asyncio.create_task(queue.submit([0]))
        await asyncio.to_thread(entered.wait, 60)
        others = [asyncio.create_task(queue.submit([n])) for n in range(1, 7)]
        while len(queue) < 6:
            await asyncio.sleep(0)
        release.set()
        answers = await asyncio.gather(first, *others)
        await queue.close()
        return answers

    assert asyncio.run(run()) == [[n] for n in range(7)]
    assert sizes == [1, 4, 2]


def test_more_than_may_wait_is_refused_and_the_rest_is_answered():
    release = threading.Event()

    def slow(items):
        release.wait(timeout=60)
        return items

    async def run():
        queue = queue_of(slow, capacity=3)
        accepted = [asyncio.create_task(queue.submit([n])) for n in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="up to 3 may wait"):
            await queue.submit([4])
        release.set()
        answers = await asyncio.gather(*accepted)
        await queue.close()
        return answers

    assert asyncio.run(run()) == [[0], [1], [2], [3]]


def test_an_error_of_one_item_is_its_answer_and_of_a_batch_that_of_all():
    def odd(items):
        if 99 in items:
            raise RuntimeError("all")
        return [ValueError(item) if item % 2 else item for item in items]

    async def run():
        queue = queue_of(odd)
        one = await queue.submit([0, 1, 2])
        two = await queue.submit([98, 99])
        three = await queue.submit([4])
        await queue.close()
        return one, two, three

    one, two, three = asyncio.run(run())
    assert (one[0], str(one[1]), one[2]) == (0, "1", 2)
    assert list(map(str, two)) == ["all", "all"]
    assert three == [4]


def test_a_client_that_leaves_disturbs_no_other():
    entered, release = threading.Event(), threading.Event()
    seen = []

    def slow(items):
        seen.extend(items)
        entered.set()
        release.wait(timeout=60)
        return items

    async def run():
        queue = queue_of(slow)
        first = asyncio.create_task(queue.submit(["first"]))
        await asyncio.to_thread(entered.wait, 60)
        leaving = asyncio.create_task(queue.submit(["leaving"]))
        staying = asyncio.create_task(queue.submit(["staying"]))
        while len(queue) < 2:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        release.set()
        answers = await asyncio.gather(first, staying)
        await queue.close()
        return answers

    assert asyncio.run(run()) == [["first"], ["staying"]]
    assert "leaving" not in seen
