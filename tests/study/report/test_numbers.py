"""Formatting of numbers in reports."""

import math

import pytest

pytest.importorskip("statsmodels")

from fer_attention.study.report import numbers  # noqa: E402
from fer_attention.study.report.numbers import MINUS, MISSING  # noqa: E402


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (numbers.percent(0.63204), "63.20"),
        (numbers.percent(None), MISSING),
        (numbers.points(0.006), "+0.60"),
        (numbers.points(-0.0123), f"{MINUS}1.23"),
        (numbers.points(-0.00001), "0.00"),
        (numbers.points(math.nan), MISSING),
        (numbers.p_value(0.0004), "< 0.001"),
        (numbers.p_value(1.0), "1.000"),
        (numbers.equals(0.11), "= 0.110"),
        (numbers.span(-0.002, 0.014, numbers.points), f"{MINUS}0.20 to +1.40"),
        (numbers.span(math.nan, 0.5), MISSING),
        (numbers.count(3589), "3,589"),
        (numbers.millions(23_654_321), "23.65"),
        (numbers.millions(713_900), "0.714"),
        (numbers.short(99.96), "100"),
        (numbers.short(23.76), "23.8"),
        (numbers.ranged([7, 9, 8]), "7 to 9"),
        (numbers.plural(1, "seed"), "1 seed"),
        (numbers.plural(1200, "seed"), "1,200 seeds"),
        (numbers.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_are_formatted_consistently(text, wanted):
    assert text == wanted
