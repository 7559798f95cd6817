"""Which conditions no other beats in both value and cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer_attention.study.statistics.checks import numbers


def pareto_front(costs: ArrayLike, values: ArrayLike) -> NDArray[np.bool_]:
    """Mark what is not dominated: nothing else costs at most as much, is worth at least as much, and differs.

    >>> pareto_front([1, 2, 3], [0.6, 0.5, 0.7]).tolist()
    [True, False, True]

    Args:
        costs: (N,) or, for several costs, (N, K); less is better.
        values: (N,); more is better.

    Returns:
        (N,), true on the front. Points that are equal in everything are on it together.

    Raises:
        ValueError: Shapes that do not fit, or numbers that are not finite.
    """
    worth = numbers(values, "values", least=0)
    price = np.asarray(costs, dtype=np.float64)
    price = price[:, None] if price.ndim == 1 else price
    if price.ndim != 2 or len(price) != len(worth) or not price.shape[1]:
        raise ValueError(
            f"costs have shape {np.shape(costs)}, expected (N,) or (N, K) for {len(worth)} values."
        )
    numbers(price.ravel(), "costs", least=0)
    goals = np.column_stack([price, -worth])
    no_worse = (goals[:, None] <= goals[None]).all(axis=2)
    better = (goals[:, None] < goals[None]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0))
