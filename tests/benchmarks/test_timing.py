"""Timing of the benchmarks: interleaved rounds, ratios, and memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import timing
import torch
from hypothesis import given
from hypothesis import strategies as st
from timing import Effort, held_mib, interleaved, peak_mib, ratio, round_order, spread


@given(st.integers(1, 8), st.integers(0, 40))
def test_rounds_contain_every_name_once_and_balance_the_positions(count, start):
    names = [str(number) for number in range(count)]
    orders = [round_order(names, turn) for turn in range(start, start + 2 * count)]
    assert all(sorted(order) == names for order in orders)
    for position in zip(*orders, strict=True):
        assert {position.count(name) for name in names} == {2}


def test_calls_are_interleaved_after_a_warm_up():
    ran = []
    calls = {name: lambda name=name: ran.append(name) for name in "abc"}
    times = interleaved(calls, Effort(rounds=4, warmup=2, least_ms=0))
    assert "".join(ran[:6]) == "aabbcc"
    assert ["".join(ran[i : i + 3]) for i in range(6, 18, 3)] == ["abc", "cba", "bca", "acb"]
    assert all(len(values) == 4 and min(values) > 0 for values in times.values())


def test_quick_calls_are_repeated_within_a_sample(monkeypatch):
    ran = []
    clock = SimpleNamespace(perf_counter=lambda: len(ran) / 2**13)  # each call takes 0.122 ms
    monkeypatch.setattr(timing, "time", clock)
    [times] = interleaved({"a": lambda: ran.append(0)}, Effort(rounds=3, warmup=2, least_ms=1)).values()
    assert len(ran) == 2 + 3 * 9
    assert times == [1e3 / 2**13] * 3


def test_the_time_limit_allows_at_least_three_rounds():
    [times] = interleaved({"a": lambda: None}, Effort(rounds=9, seconds=0, least_ms=0)).values()
    assert len(times) == 3


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"warmup": 0}, {"seconds": -1.0}, {"least_ms": -1}])
def test_invalid_efforts_are_rejected(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least"):
        Effort(**wrong)


def test_spread_and_ratio_agree_with_numpy():
    above, below = [3.0, 4.0, 9.0, 8.0], [1.0, 2.0, 3.0, 2.0]
    assert spread(above) == {"median": 6.0, "q25": 3.75, "q75": 8.25}
    found = ratio(above, below)
    assert found == ratio(above, below)
    assert found["median"] == np.median([3, 2, 3, 4])
    assert 2 <= found["low"] <= found["median"] <= found["high"] <= 4
    assert ratio([2.0] * 5, [1.0] * 5) == {"median": 2, "low": 2, "high": 2}


def test_peak_memory_is_the_largest_sum_of_living_tensors():
    x = torch.zeros(256, 1024)  # 1 MiB

    def call():
        a = x + 1
        b = torch.cat([a, a])
        del a
        return b.sum() + (b[:256] * 2).sum()  # 2 and 1 living at once

    assert peak_mib(call) == pytest.approx(3, abs=0.01)
    assert held_mib(torch.nn.Linear(1024, 256, bias=False), x) == 2
