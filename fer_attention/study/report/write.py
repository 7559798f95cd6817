"""The files of a report, each whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fer_attention.atomic import write_atomically
from fer_attention.study.analysis import analyse_folder
from fer_attention.study.config import StudyError
from fer_attention.study.report.export import analysis_json, records_csv
from fer_attention.study.report.markup import latex_table
from fer_attention.study.report.render import draw, html, markdown
from fer_attention.study.report.sections import document_of
from fer_attention.study.report.sentences import sentences
from fer_attention.study.results import Analysis


@dataclass(frozen=True)
class ReportPaths:
    """Where the files of a report are.

    Attributes:
        html: One page with everything in it.
        markdown: The same for GitHub.
        csv: One line for each finished run.
        json: The whole analysis.
        tables: LaTeX, one file for each table.
        plots: SVG and PNG, two files for each plot.
    """

    html: Path
    markdown: Path
    csv: Path
    json: Path
    tables: tuple[Path, ...]
    plots: tuple[Path, ...]


def write_report(folder: Path, output: Path | None = None) -> ReportPaths:
    """Analyse a study and write its report; the same folder gives the same bytes.

    Args:
        folder: Of the study.
        output: Folder of the report, made if it is not there; by default `report` in the study's folder.

    Raises:
        StudyError: The folder holds no study, or none of its runs is finished.
        OSError: A file cannot be written.
    """
    return write_analysis(analyse_folder(folder), folder / "report" if output is None else output)


def write_analysis(analysis: Analysis, output: Path) -> ReportPaths:
    """Write the report of an analysis into a folder, which is made if it is not there.

    Raises:
        StudyError: No run is finished.
        OSError: A file cannot be written.
    """
    if not analysis.conditions:
        failed = f" {len(analysis.failed)} failed." if analysis.failed else ""
        raise StudyError(
            f"No run of the study is finished, so there is nothing to report.{failed} "
            "Carry it out first: fer-attention study run."
        )
    summary = tuple(sentences(analysis))
    document = document_of(analysis, summary)
    drawn = {plot.name: draw(plot) for plot in document.plots}
    files = {
        "records.csv": records_csv(analysis),
        "analysis.json": analysis_json(analysis, summary),
        **{f"tables/{table.name}.tex": latex_table(table).encode() for table in document.tables},
        **{f"plots/{name}.svg": plot.svg.encode() for name, plot in drawn.items()},
        **{f"plots/{name}.png": plot.png for name, plot in drawn.items()},
        "report.md": markdown(document).encode(),
        "report.html": html(document, drawn).encode(),  # the last: where it is new, all else is
    }
    for part in (output, output / "tables", output / "plots"):
        part.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(output / name, content)
    return ReportPaths(
        html=output / "report.html",
        markdown=output / "report.md",
        csv=output / "records.csv",
        json=output / "analysis.json",
        tables=tuple(output / name for name in files if name.startswith("tables/")),
        plots=tuple(output / name for name in files if name.startswith("plots/")),
    )
