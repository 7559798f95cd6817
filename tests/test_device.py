"""The faster precision of a device, by measured times."""

import pytest
import torch

from fer_attention import device

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """Sets the times of float32 and bfloat16 in seconds, round by round."""

    def set_times(*rounds):
        times = {
            kind: iter([one[position] for one in rounds] * 6)
            for position, kind in enumerate((torch.float32, torch.bfloat16))
        }
        monkeypatch.setattr(device, "_training_time", lambda where, kind: next(times[kind]))
        device.fastest_precision.cache_clear()

    yield set_times
    device.fastest_precision.cache_clear()


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([(1.0, 0.5)], "bfloat16"),
        ([(1.0, 0.9)], "float32"),  # not worth the rounding
        ([(1.0, 10.0)], "float32"),
        ([(9.0, 9.0), (1.0, 9.0), (9.0, 0.5)], "bfloat16"),  # the fastest rounds count on a busy machine
        ([(9.0, 0.9), (1.0, 9.0)], "float32"),
    ],
)
def test_the_faster_precision_is_chosen(clock, rounds, expected):
    clock(*rounds)
    assert device.fastest_precision(CPU) == expected
    assert device.fastest_precision(CPU) == expected  # measured once


def test_both_precisions_can_be_timed_without_gradients():
    with torch.no_grad():
        times = [device._training_time(CPU, kind) for kind in (torch.float32, torch.bfloat16)]
    assert all(time > 0 for time in times)
