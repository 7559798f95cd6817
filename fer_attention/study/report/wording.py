"""Numbers as a report prints them: one way for the same kind of number, everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from string import Formatter
from types import MappingProxyType
from typing import Any

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share in [0, 1] in %, without the sign: `63.20`."""
    return MISSING if share is None else _minus(f"{share * 100:.{digits}f}")


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign: `+0.60`."""
    if difference is None:
        return MISSING
    text = f"{difference * 100:+.2f}"
    return "0.00" if text in ("-0.00", "+0.00") else _minus(text)


def p_value(p: float | None) -> str:
    """`0.110`, or `< 0.001`."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def equal_or_less(p: float) -> str:
    """A p-value behind the letter: `= 0.110`, or `< 0.001`."""
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def span(low: float | None, high: float | None, form: Callable[[float], str] = percent) -> str:
    """`60.10 to 62.30`."""
    return MISSING if low is None or high is None else f"{form(low)} to {form(high)}"


def interval(ends: tuple[float, float] | None, form: Callable[[float], str] = percent) -> str:
    """`span` of a pair; None where the interval is undefined."""
    return MISSING if ends is None else span(*ends, form=form)


def count(number: float | None) -> str:
    """A whole number with commas: `3,589`."""
    return MISSING if number is None else f"{number:,.0f}"


def decimal(number: float | None, digits: int = 2) -> str:
    """A number with so many decimals."""
    return MISSING if number is None else _minus(f"{number:.{digits}f}")


def short(number: float | None) -> str:
    """Three significant digits: `3.00`, `12.3`, `1,234`."""
    if number is None:
        return MISSING
    return f"{number:,.0f}" if abs(number) >= 99.95 else _minus(f"{number:#.3g}".rstrip("."))


def millions(number: float | None) -> str:
    """`23.65` for 23,650,000; below a million with three decimals: `0.714`."""
    if number is None:
        return MISSING
    return f"{number / 1e6:,.2f}" if number >= 1e6 else f"{number / 1e6:.3f}"


def listed(names: Mapping[Any, Any] | list[str] | tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = [str(name) for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


FORMS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "pct": percent,
        "whole_pct": lambda share: f"{share * 100:g}",
        "points": points,
        "unsigned_points": lambda difference: percent(abs(difference)),
        "p": equal_or_less,
        "n": count,
        "ratio": decimal,
        "three": lambda number: decimal(number, 3),
        "short": short,
        "plain": lambda number: f"{number:g}",
    }
)
"""How a sentence prints a number: what follows the colon in its template."""


class Filler(Formatter):
    """Fills a sentence's template and keeps the numbers that it printed, and the names."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}
        self.names: dict[str, str] = {}

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        """The value, with its name for `format_field`."""
        value, used = super().get_field(field_name, args, kwargs)
        return (field_name, value), used

    def format_field(self, value: Any, format_spec: str) -> str:
        """Names as they are, numbers by their form.

        Raises:
            KeyError: There is no such form.
            ValueError: A number has none.
        """
        name, content = value
        if isinstance(content, str):
            self.names[name] = content
            return content
        if not format_spec:
            raise ValueError(f"The number {name} needs a form: {', '.join(FORMS)}.")
        self.numbers[name] = content
        return FORMS[format_spec](content)
