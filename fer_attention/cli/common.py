"""Parts that the commands share: consoles, options, progress, folders for output, errors as lines."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress, track
from rich.text import Text

from fer_attention.cli.wording import message_of
from fer_attention.outputs import check_output

T = TypeVar("T")

_silent = int(os.environ.get("RANK", "0")) > 0  # of torchrun's processes, only the first one prints
_ESCAPED = {
    **{code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))},  # but \t and \n
    **{0xDC00 + byte: f"\\x{byte:02x}" for byte in range(128, 256)},  # bytes of a path that are not UTF-8
}


class _PlainConsole(Console):
    """A console for text that others wrote: names of files are no markup and cannot control the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(text.translate(_ESCAPED), **options)


out = _PlainConsole(quiet=_silent)
err = _PlainConsole(stderr=True)

FACES, DATA, MACHINE = "Finding faces", "Data", "Machine"
"""Titles of groups of options in the help."""

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=MACHINE)]


def examples(*commands: str) -> str:
    """Format the examples at the end of a command's help."""
    return "\n\n".join(("Examples:", *commands))


def say(text: str, console: Console = out) -> None:
    """Print text without line breaks."""
    console.print(text, soft_wrap=True)


def fail(message: str) -> None:
    """Print an error in red to standard error."""
    err.print(Text("error:", "bold red"), message, soft_wrap=True)


def warn(message: object) -> None:
    """Print a warning in yellow to standard error."""
    err.print(Text("warning:", "bold yellow"), str(message), soft_wrap=True)


def never_fail_to_print() -> None:
    """Let standard output and error escape what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def make_parents(*files: Path | None) -> None:
    """Create the folders of output files and check that they can be written, before the work."""
    for file in files:
        if file is not None:
            check_output(file)


def progress(items: Iterable[T], what: str, total: float | None = None) -> Iterable[T]:
    """Show a bar on terminals while the items are consumed."""
    return track(items, what, total, console=err, transient=True, disable=not err.is_terminal)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on terminals and yield an `on_progress(done, total)` that moves it."""
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def interruptions(output: Path) -> Iterator[None]:
    """Report that the same command resumes, after Ctrl-C or SIGTERM stopped it."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stopped:
        fail(f"stopped. Finished work is saved in {output}; the same command resumes from there.")
        sys.exit(stopped.code if isinstance(stopped, SystemExit) else 130)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning of the library as one line, none of Pillow, and others unchanged."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=UserWarning, module="fer_attention")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # about files that are read or refused anyway
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *location: Any, **more: Any) -> None:
            if category.__module__.startswith("fer_attention."):
                warn(message)
            else:
                others(message, category, *location, **more)

        warnings.showwarning = show
        yield


@contextmanager
def errors_as_lines(parameters: Iterable[Any]) -> Iterator[None]:
    """End a command with one line and exit code 2 on the library's own errors, with 130 on Ctrl-C."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):  # which typer handles
        raise
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        fail(message_of(error, parameters))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
