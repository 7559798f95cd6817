"""A study of two factors in long form, checked and turned into a table of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_attention.study.statistics.checks import Numbers, plain


@dataclass(frozen=True)
class Design:
    """Values by block and cell.

    Attributes:
        first: Levels of the first factor, its baseline in front.
        second: Levels of the second.
        blocks: Replications, in the order in which they appear.
        table: (blocks, first, second), NaN where a run is missing.
    """

    first: tuple[Any, ...]
    second: tuple[Any, ...]
    blocks: tuple[Any, ...]
    table: Numbers

    @property
    def incomplete(self) -> int:
        """Blocks that lack a run."""
        return int(np.isnan(self.table).any(axis=(1, 2)).sum())

    def long(self) -> pd.DataFrame:
        """One row for each run: the numbers of its levels and block, and its value."""
        block, one, two = np.nonzero(~np.isnan(self.table))
        return pd.DataFrame(
            {"first": one, "second": two, "block": block, "value": self.table[block, one, two]}
        )


def read_design(frame: pd.DataFrame, *, first: str, second: str, block: str, value: str) -> Design:
    """Read a frame in long form.

    A factor's baseline is the first category of a categorical column, else the level that appears first.

    Raises:
        ValueError: A missing column, a factor with one level, fewer than two blocks, a value that is not
            finite, two values of one run, or a combination of levels that never occurs.
    """
    columns = (first, second, block, value)
    if lacking := [name for name in columns if name not in frame.columns]:
        raise ValueError(f"The frame has no column {lacking[0]!r}. It has: {', '.join(map(str, frame))}.")
    if len(set(columns)) < len(columns):
        raise ValueError(f"Factors, block and value must be four columns, got {', '.join(columns)}.")
    if frame[[first, second, block]].isna().to_numpy().any():
        raise ValueError("A row has no level or no block; each needs both.")
    values = frame[value].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"Row {row} of {value!r} is {values[row]}; leave rows without a number out.")
    levels = [_levels(frame[name], name) for name in (first, second)]
    blocks = tuple(frame[block].unique())
    if len(blocks) < 2:
        raise ValueError(f"{len(blocks)} block(s) in {block!r}, expected at least 2 replications.")
    places = tuple(
        _places(frame[column], names)
        for names, column in ((blocks, block), (levels[0], first), (levels[1], second))
    )
    table = np.full((len(blocks), len(levels[0]), len(levels[1])), np.nan)
    times = np.zeros(table.shape, dtype=np.int64)
    np.add.at(times, places, 1)
    if (times > 1).any():
        at, one, two = (int(found[0]) for found in np.nonzero(times > 1))
        raise ValueError(
            f"{first}={levels[0][one]}, {second}={levels[1][two]} has {times[at, one, two]} values in block "
            f"{blocks[at]}, expected one: average over other factors, or make them part of the block."
        )
    if (empty := times.sum(axis=0) == 0).any():
        one, two = (int(found[0]) for found in np.nonzero(empty))
        raise ValueError(
            f"{first}={levels[0][one]} with {second}={levels[1][two]} never occurs; leave that level out."
        )
    table[places] = values
    return Design(
        tuple(map(plain, levels[0])), tuple(map(plain, levels[1])), tuple(map(plain, blocks)), table
    )


def _places(column: pd.Series[Any], names: tuple[Any, ...]) -> NDArray[np.int64]:
    where = {name: place for place, name in enumerate(names)}
    return np.array([where[name] for name in column], dtype=np.int64)


def _levels(column: pd.Series[Any], name: str) -> tuple[Any, ...]:
    seen = column.unique()
    if isinstance(column.dtype, pd.CategoricalDtype):
        present = set(seen)
        levels = tuple(level for level in column.cat.categories if level in present)
    else:
        levels = tuple(seen)
    if len(levels) < 2:
        raise ValueError(f"{name!r} has {len(levels)} level(s), expected at least 2.")
    return levels
