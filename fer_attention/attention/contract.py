"""The contract of a block's constructor and options, checked where the block is registered and built."""

from __future__ import annotations

import inspect

from fer_attention.bounded import bounded

CONTRACT = (
    "A block is a subclass of AttentionBlock, built as Block(channels, *, options with defaults, "
    "device=None, dtype=None), with its parameters on that device and of that type."
)

NUMBERS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "an integer"),
    "int | None": ((int, type(None)), "an integer or None"),
    "float": ((int, float), "a number"),
}
"""Types of values and their names by the annotations of a block's options."""


def check_constructor(block: type, base: type) -> None:
    """Check that a block can be built as `Block(channels, device=device, dtype=dtype)`.

    Raises:
        TypeError: It is not a subclass of `base`, or a parameter is missing, misplaced or without a default.
    """
    if not (isinstance(block, type) and issubclass(block, base)):
        raise TypeError(f"{bounded(block)} is not a subclass of {base.__name__}. {CONTRACT}")
    parameters = dict(inspect.signature(block).parameters)
    first = next(iter(parameters), "")
    if first != "channels" or parameters[first].kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"the first parameter of {block.__name__} is {first!r}, not 'channels'. {CONTRACT}")
    if missing := [name for name in ("device", "dtype") if name not in parameters]:
        raise TypeError(f"{block.__name__} has no parameter {' and no '.join(missing)}. {CONTRACT}")
    del parameters["channels"]
    if without := [name for name, one in parameters.items() if one.default is inspect.Parameter.empty]:
        raise TypeError(f"{block.__name__} has no default for {', '.join(without)}. {CONTRACT}")
