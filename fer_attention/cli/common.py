"""What the commands share: consoles, and errors as one line instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

out = Console()
err = Console(stderr=True)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def fail(message: str) -> None:
    """Print an error in red to standard error."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """The library's own errors (ValueError, TypeError, OSError, …) end the command with exit code 2."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        fail(str(error))
        sys.exit(2)
