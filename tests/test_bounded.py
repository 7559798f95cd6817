"""Values of any size in messages."""

import time

import pytest

from fer_attention.bounded import bounded, cut


def nested(levels, width=10):
    value = "lol"
    for _ in range(levels):
        value = [value] * width
    return value


@pytest.mark.parametrize(
    "make",
    [
        lambda: nested(12),
        lambda: {"a": nested(9)},
        lambda: "x" * 10**7,
        lambda: list(range(10**6)),
        lambda: 1 << 10**6,
        lambda: b"x" * 10**6,
    ],
)
def test_a_large_value_is_shown_with_a_bound_and_at_once(make):
    value = make()
    start = time.process_time()
    assert len(bounded(value)) <= 200
    assert time.process_time() - start < 5


@pytest.mark.parametrize("value", [7, "happy", ["se", "eca"], None, {"reduction": 8}, (1.5, True)])
def test_a_small_value_is_shown_as_it_is(value):
    assert bounded(value) == repr(value)


def test_both_ends_of_a_long_text_are_kept():
    assert cut("layer1.0.conv1.weight", 11) == "layer…eight"
    assert cut("short", 5) == "short"
