"""What a report is made of, before it becomes HTML, Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Column(NamedTuple):
    """Heading of a column; numbers stand on the right, text on the left."""

    heading: str
    text: bool = False


@dataclass(frozen=True)
class Table:
    """A table of cells that are printed as they are.

    Attributes:
        name: Of its file, and what a page links to: small letters, digits and hyphens.
        title: What it shows.
        columns: The first is the name of a row.
        rows: As many cells each as there are columns.
        note: What the numbers hang on.

    Raises:
        ValueError: A row is longer or shorter than the columns, or the name is no file name.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum() or not self.name.isascii():
            raise ValueError(f"A table's name holds letters, digits and hyphens, not {self.name!r}.")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.name}: a row of {len(row)} cells for {len(self.columns)} columns.")

    def column(self, heading: str) -> tuple[str, ...]:
        """The cells under a heading."""
        number = [column.heading for column in self.columns].index(heading)
        return tuple(row[number] for row in self.rows)


@dataclass(frozen=True)
class Plot:
    """A figure and what it says to those who do not see it.

    Attributes:
        name: Of its files.
        caption: How to read it.
        alternative: What it shows, in words.
        draw: Gives the figure.
    """

    name: str
    caption: str
    alternative: str
    draw: Callable[[], Figure]
    kind: ClassVar[str] = "plot"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    heading: str = ""
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]
    heading: str = ""
    kind: ClassVar[str] = "bullets"


@dataclass(frozen=True)
class Code:
    """Lines to be copied."""

    text: str
    heading: str = ""
    language: str = ""
    kind: ClassVar[str] = "code"


Block: TypeAlias = Table | Plot | Text | Bullets | Code


@dataclass(frozen=True)
class Section:
    """A part of the report under its heading."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    question: str
    sections: tuple[Section, ...]

    @property
    def blocks(self) -> list[Block]:
        """Those of all sections, in order."""
        return [block for section in self.sections for block in section.blocks]

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def plots(self) -> list[Plot]:
        """All plots, in order."""
        return [block for block in self.blocks if isinstance(block, Plot)]
