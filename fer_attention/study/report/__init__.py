"""Report of a study: an HTML page, Markdown, LaTeX and CSV tables, and plots.

The text is a template (`templates/report.jinja`) that is filled from the tables of a `StudyAnalysis`.
"""

from __future__ import annotations

from pathlib import Path

from fer_attention.optional import needs_extra

with needs_extra("study", "The report of a study needs matplotlib and pandas"):
    import matplotlib as _matplotlib  # noqa: F401  (checked once, here)
    import pandas as pd

from fer_attention.atomic import write_atomically
from fer_attention.rendering.figures import png_file, svg_file, svg_of
from fer_attention.study.analysis import analyse_folder
from fer_attention.study.config import StudyError
from fer_attention.study.report.names import with_readable_names
from fer_attention.study.report.numbers import MINUS
from fer_attention.study.report.plots import report_plots
from fer_attention.study.report.render import html, markdown
from fer_attention.study.report.tables import TEXT, ReportTable, report_tables

__all__ = ["write_report"]

NUMBERS = ("conditions", "comparisons", "interactions", "contrasts", "slopes", "costs", "bias")
"""Tables of the analysis that are written as CSV, in full precision."""


def write_report(folder: Path, output: Path | None = None) -> Path:
    """Analyse a study and write its report; the same folder always gives the same bytes.

    >>> write_report(Path("my_study"))  # doctest: +SKIP
    PosixPath('my_study/report/report.html')

    Args:
        folder: Folder of the study.
        output: Folder of the report, created if it does not exist; by default `report` in the study's folder.

    Returns:
        Path of the page, `report.html`. Beside it: `report.md`, `records.csv` with a row for each finished
        run, `tables/` (LaTeX as printed, CSV in full precision) and `plots/` (SVG and PNG).

    Raises:
        StudyError: The folder holds no study, or none of its runs is finished.
        OSError: A file cannot be written.
    """
    analysis, output = analyse_folder(folder), folder / "report" if output is None else output
    if not len(analysis.runs):
        failed = f" {len(analysis.failed)} failed." if analysis.failed else ""
        raise StudyError(
            f"No run of the study is finished, so there is nothing to report.{failed} "
            "Run the study first: fer-attention study run."
        )
    shown = with_readable_names(analysis)
    tables, plots = report_tables(shown), report_plots(shown)
    drawn = {name: svg_of(plot.figure, name) for name, plot in plots.items()}
    numbers = {name: getattr(analysis, name) for name in NUMBERS if len(getattr(analysis, name))}
    files = {
        "records.csv": _csv(analysis.runs),
        **{f"tables/{name}.csv": _csv(frame) for name, frame in numbers.items()},
        **{f"tables/{name}.tex": latex(table).encode() for name, table in tables.items()},
        **{f"plots/{name}.svg": svg_file(svg).encode() for name, svg in drawn.items()},
        **{f"plots/{name}.png": png_file(plot.figure) for name, plot in plots.items()},
        "report.md": markdown(shown, tables, plots).encode(),
        # last, so that a new page has new files beside it
        "report.html": html(shown, tables, plots, drawn).encode(),
    }
    for name, content in files.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output / name, content)
    return output / "report.html"


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def latex(table: ReportTable) -> str:
    r"""Return LaTeX of a table, to be read with \\input; it needs booktabs and T1 fontenc."""
    text = table.frame.to_latex(
        index=False,
        escape=True,
        column_format="".join("l" if name in TEXT else "r" for name in table.frame),
        caption=table.title,
        label=f"tab:{table.name}",
        position="tbp",
    )
    head = "\\begin{table}[tbp]\n"
    wanted = f"% needs \\usepackage{{booktabs}} and \\usepackage[T1]{{fontenc}}\n{head}\\centering\\small\n"
    return text.replace(head, wanted, 1).replace(MINUS, "$-$")
