"""Ordered, bounded work in threads."""

import threading
import time

import pytest
import torch

from fer_attention.threads import default_workers, in_chunks, map_in_threads


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers):
    def slow_for_even(number):
        time.sleep(0.002 * (number % 2 == 0))
        return number * number

    assert list(map_in_threads(slow_for_even, range(50), workers=workers)) == [n * n for n in range(50)]


def test_several_items_are_in_work_at_once():
    barrier = threading.Barrier(3, timeout=30)  # passes only if three threads wait at the same time
    assert list(map_in_threads(lambda _: barrier.wait() >= 0, range(6), workers=3)) == [True] * 6


def test_items_are_read_only_as_they_are_needed():
    read = []

    def items():
        for number in range(1000):
            read.append(number)
            yield number

    results = map_in_threads(str, items(), workers=2, ahead=3)
    assert next(results) == "0"
    assert len(read) <= 2 + 3 + 1
    results.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_at_its_position_and_ends_the_stream(workers):
    def halve(number):
        return 10 // (5 - number)

    results = map_in_threads(halve, range(100), workers=workers)
    assert [next(results) for _ in range(5)] == [2, 2, 3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_an_error_of_the_items_is_raised():
    def items():
        yield 1
        raise OSError("the folder is gone")

    with pytest.raises(OSError, match="the folder is gone"):
        list(map_in_threads(str, items(), workers=2))


def test_threads_share_pytorchs_threads_and_the_setting_is_restored():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        counts = set(map_in_threads(lambda _: torch.get_num_threads(), range(8), workers=2))
        assert counts == {2}
        assert torch.get_num_threads() == 4
        fresh = []
        thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert fresh == [4]
    finally:
        torch.set_num_threads(before)


def test_chunks_hold_all_items_in_order():
    assert list(in_chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_chunks([], 3)) == []


def test_default_number_of_threads_is_positive_and_bounded():
    assert 1 <= default_workers() <= 8
