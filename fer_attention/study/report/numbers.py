"""Formatting of numbers in a report: one format for each kind of number; NaN and None are a dash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

MISSING = "–"
MINUS = "\N{MINUS SIGN}"

Formatter = Callable[[Any], str]


def formatter(spec: str, *, scale: float = 1.0) -> Formatter:
    """Return a function that formats a scaled number, with a true minus sign."""

    def formatted(number: float | None) -> str:
        if number is None or pd.isna(number):
            return MISSING
        text = f"{number * scale:{spec}}".replace("-", MINUS)
        return text.lstrip(f"+{MINUS}") if not float(text.replace(MINUS, "-").replace(",", "")) else text

    return formatted


percent = formatter(".2f", scale=100)
"""A share in [0, 1] as a percentage, without the % sign: `63.20`."""
whole_percent = formatter(".4g", scale=100)
"""A round share as a percentage: `95`, `2.5`."""
points = formatter("+.2f", scale=100)
"""A difference of shares in percentage points, with its sign: `+0.60`."""
count = formatter(",.0f")
"""An integer with thousands separators: `3,589`."""
two_decimals = formatter(".2f")
three_decimals = formatter(".3f")


def p_value(p: float | None) -> str:
    """Format a p-value: `0.110`, or `< 0.001`."""
    return "< 0.001" if p is not None and p < 0.001 else three_decimals(p)


def equals(p: float) -> str:
    """Format a p-value with its relation: `= 0.110`, or `< 0.001`."""
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def short(number: float | None) -> str:
    """Format a number with three significant digits: `3.00`, `12.3`, `1,234`."""
    if number is None or pd.isna(number):
        return MISSING
    return f"{number:,.0f}" if abs(number) >= 99.95 else f"{number:#.3g}".rstrip(".").replace("-", MINUS)


def millions(number: float | None) -> str:
    """Format a count in millions: `23.65` for 23,650,000; `0.714` for 714,000."""
    return formatter(",.2f" if (number or 0) >= 1e6 else ".3f", scale=1e-6)(number)


def span(low: float | None, high: float | None, formatted: Formatter = percent) -> str:
    """Format an interval: `60.10 to 62.30`."""
    return MISSING if low is None or pd.isna(low) else f"{formatted(low)} to {formatted(high)}"


def ranged(numbers: Iterable[float]) -> str:
    """Format counts as one number if they are equal, else as a range: `70 to 81`."""
    values = list(numbers)
    return count(values[0]) if min(values) == max(values) else span(min(values), max(values), count)


def plural(number: int, noun: str) -> str:
    """Format a count with its noun: `1 seed`, `2 seeds`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def listed(names: Iterable[object]) -> str:
    """Join names: `a`, `a and b`, `a, b and c`."""
    *others, last = map(str, names)
    return f"{', '.join(others)} and {last}" if others else last


FILTERS: dict[str, Callable[..., str]] = {
    "percent": percent,
    "whole_percent": whole_percent,
    "points": points,
    "count": count,
    "two_decimals": two_decimals,
    "three_decimals": three_decimals,
    "equals": equals,
    "ranged": ranged,
    "plural": plural,
    "listed": listed,
}
"""Filters of the templates."""
