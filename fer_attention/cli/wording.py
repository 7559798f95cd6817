"""Errors of the library in the words of the command line: options, not parameters of Python."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fer_attention.atomic import FULL
from fer_attention.os_errors import reason_of

_PLAIN = (
    (r"\[Errno \d+\] ", ""),
    (r"\[ONNXRuntimeError\] : \d+ : \w+ : ", ""),
    (r" ?<[\w.]+ object at 0x[0-9a-f]+>", ""),
    (r"(?m)^( *)([\w.]+): Unknown field '\w+'", r"\1No field '\2'"),
    ("Input should be a valid dictionary( or instance of \\w+)?", "must be a mapping of fields"),
    ("Input should be", "must be"),
    ("a valid tuple", "a list"),
    (", got a number with a fractional part", ""),
    (r"\bgot None\b", "got nothing"),
    (", unable to parse string as an? \\w+", ""),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
    ("as a whole: |Value error, ", ""),
    (",? or None", ""),
    (r"create_detector\('(\w+)', weights='([^']+)'\)", r"--detector \1 --detector-weights \2"),
    (r"weights='([^']+\.onnx)'", r"--detector-weights \1"),
    (r"(option of the detector '\w+'): 'weights'", r"\1: 'detector_weights'"),
    (r"(--[\w-]+) \(\w+=\w+\)", r"\1"),
)
"""Wording of Python, pydantic and other libraries, with its replacement."""


def message_of(error: BaseException, parameters: Iterable[Any] = ()) -> str:
    """Return the message of an error as a user of the command line reads it.

    Args:
        error: The error. Errors of the operating system are reduced to the path and the reason.
        parameters: Parameters of the command. Their names become options.
    """
    if isinstance(error, OSError) and error.filename is not None:
        reason = reason_of(error)
        if error.errno in FULL:
            reason += ". Free some space, or choose another disk"
        return f"Cannot use {error.filename2 or error.filename}: {reason}."
    return as_typed(str(error), parameters)


def as_typed(message: str, parameters: Iterable[Any] = ()) -> str:
    """Reword a message: `Take device='cpu'` becomes `Use --device cpu`."""
    for pattern, plain in _PLAIN:
        message = re.sub(pattern, plain, message)
    for parameter in parameters:
        option = max(parameter.opts, key=len)
        if option.startswith("--"):
            for word in {parameter.name, option[2:].replace("-", "_"), parameter.name.removeprefix("max_")}:
                message = _with_option(message, word, option)
    message = re.sub(r"(--[\w-]+ \w+) \(\1\)", r"\1", message)
    message = re.sub(r"^(--[\w-]+) '([^']*)'", r"\1 \2", message)
    return re.sub(r"\bTake (?=--)", "Use ", message)


def _with_option(message: str, word: str, option: str) -> str:
    """Replace `word=value`, and `word` if it has an underscore or begins the message."""
    message = re.sub(
        rf"Unknown option of the (\w.* '[\w-]+'): '{word}'.*", rf"The \1 takes no {option}.", message
    )
    value = r"(?:'[^']*'|[\w./-]+)(?: or '[^']*')*"
    message = re.sub(
        rf"(?<![\w-]){word}=({value})?",
        lambda found: f"{option} {found[1] or ''}".replace("'", "").rstrip(),
        message,
    )
    certain = rf"(?<![\w./-]){word}\b" if "_" in word else rf"^{word}(?= )"
    return re.sub(certain, option, message)
