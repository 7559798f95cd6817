"""Numbers as a report prints them: one way for the same kind of number; NaN and None are a dash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

MISSING = "–"
MINUS = "\N{MINUS SIGN}"

Form = Callable[[Any], str]


def form(spec: str, *, scale: float = 1.0) -> Form:
    """A function that prints a number by a format, scaled, with a true minus sign."""

    def printed(number: float | None) -> str:
        if number is None or pd.isna(number):
            return MISSING
        text = f"{number * scale:{spec}}".replace("-", MINUS)
        return text.lstrip(f"+{MINUS}") if not float(text.replace(MINUS, "-").replace(",", "")) else text

    return printed


percent = form(".2f", scale=100)
"""A share in [0, 1] in %, without the sign: `63.20`."""
whole_percent = form(".4g", scale=100)
"""A round share in %: `95`, `2.5`."""
points = form("+.2f", scale=100)
"""A difference of shares in percentage points, with its sign: `+0.60`."""
count = form(",.0f")
"""A whole number with commas: `3,589`."""
decimal = form(".2f")
three = form(".3f")


def p_value(p: float | None) -> str:
    """`0.110`, or `< 0.001`."""
    return "< 0.001" if p is not None and p < 0.001 else three(p)


def equals(p: float) -> str:
    """A p-value after its letter: `= 0.110`, or `< 0.001`."""
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def short(number: float | None) -> str:
    """Three significant digits: `3.00`, `12.3`, `1,234`."""
    if number is None or pd.isna(number):
        return MISSING
    return f"{number:,.0f}" if abs(number) >= 99.95 else f"{number:#.3g}".rstrip(".").replace("-", MINUS)


def millions(number: float | None) -> str:
    """`23.65` for 23,650,000; below a million with three decimals: `0.714`."""
    return form(",.2f" if (number or 0) >= 1e6 else ".3f", scale=1e-6)(number)


def span(low: float | None, high: float | None, form: Form = percent) -> str:
    """`60.10 to 62.30`."""
    return MISSING if low is None or pd.isna(low) else f"{form(low)} to {form(high)}"


def ranged(numbers: Iterable[float]) -> str:
    """One count, or from the least to the largest: `70 to 81`."""
    values = list(numbers)
    return count(values[0]) if min(values) == max(values) else span(min(values), max(values), count)


def plural(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def listed(names: Iterable[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = map(str, names)
    return f"{', '.join(others)} and {last}" if others else last


FILTERS: dict[str, Callable[..., str]] = {
    "percent": percent,
    "whole_percent": whole_percent,
    "points": points,
    "count": count,
    "decimal": decimal,
    "three": three,
    "equals": equals,
    "ranged": ranged,
    "plural": plural,
    "listed": listed,
}
"""What templates print numbers with."""
