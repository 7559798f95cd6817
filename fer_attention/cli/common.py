"""Parts that the commands share: consoles, folders for output, errors as one line instead of a traceback."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.markup import escape

_silent = int(os.environ.get("RANK", "0")) > 0  # of several processes, torchrun's first one speaks
out = Console(quiet=_silent)
err = Console(stderr=True)

FACES, DATA, MACHINE = "Finding faces", "Data", "Machine"
"""Groups of options in a command's help, beside the command's own."""

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=MACHINE)]
Workers = Annotated[int, typer.Option(help="Processes that work at once.", rich_help_panel=MACHINE)]


def examples(*commands: str) -> str:
    """Format the end of a command's help: lines to be typed."""
    return "\n\n".join(("Examples:", *commands))


def say(text: str, console: Console = out) -> None:
    """Print a sentence as it is: no colours, no markup, no broken lines."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def fail(message: str) -> None:
    """Print an error in red to standard error."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)


def warn(message: str) -> None:
    """Print a warning in yellow to standard error."""
    err.print(f"[bold yellow]warning:[/] {escape(message)}", soft_wrap=True, highlight=False)


def make_parents(*files: Path | None) -> None:
    """Make the folders of output files, before the work that an unwritable place would lose."""
    for file in files:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def warnings_as_lines(category: type[Warning]) -> Iterator[None]:
    """The library's own warnings of a kind, each as one line instead of a source line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield
    for warning in caught:
        warn(str(warning.message))


@contextmanager
def shown_as_lines(own: type[Warning]) -> Iterator[None]:
    """Warnings of a kind, each as one line at the moment it is given; others as ever."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, own):
                warn(str(message))
            else:
                others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """The library's own errors (ValueError, TypeError, OSError, …) end the command with exit code 2."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        fail(str(error))
        sys.exit(2)
