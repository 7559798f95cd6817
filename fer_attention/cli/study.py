"""`fer-attention study …`: plan, run and report a study."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fer_attention.cli.common import Device, err, errors_as_lines, fail, out, warn

if TYPE_CHECKING:
    from fer_attention.study import RunSpec, StudyConfig, StudyProgress

study_app = typer.Typer(help="Controlled experiments over models, data and seeds.", no_args_is_help=True)

StudyName = Annotated[str, typer.Argument(help="A study of the package (see study list), or a YAML file.")]
DataPaths = Annotated[
    list[str] | None,
    typer.Option("--data", help="NAME=PATH of a data set; PATH alone if the study has one only."),
]
Workers = Annotated[
    int | None, typer.Option(help="Runs at a time; by default what the machine has room for.")
]


@study_app.command("list")
def list_studies() -> None:
    """The studies that come with the package."""
    with errors_as_lines():
        from fer_attention.study import expand, load_study, study_names

        table = Table("name", "runs", "question")
        for name in study_names():
            study = load_study(name)
            table.add_row(name, str(len(expand(study))), study.question)
        out.print(table)


@study_app.command()
def plan(
    study: StudyName,
    data: DataPaths = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the study, to count what is done.")] = None,
    workers: Workers = None,
    device: Device = "auto",
) -> None:
    """Show what a study would run, how long it takes here and what it leaves on the disk."""
    with errors_as_lines():
        from fer_attention.study import expand, load_study
        from fer_attention.study.datasets import DataSets
        from fer_attention.study.estimate import estimate
        from fer_attention.study.store import Store

        config = load_study(study)
        sets = DataSets(config, _paths(data, config)).all()
        runs = expand(config, sets)
        _print_conditions(config, runs)
        states = Counter(Store(output).state(run.id) for run in runs) if output is not None else Counter()
        left = [run for run in runs if output is None or Store(output).state(run.id) == "open"]
        if output is not None:
            out.print(f"{states['done']} done, {states['failed']} failed, {states['open']} open in {output}")
        if left:
            found = estimate(left, sets, workers=workers, device=device)
            out.print(
                f"{found.runs} runs, {found.workers} at a time: about {_duration(found.seconds)} "
                f"(within a factor of two; from {found.measured}), {found.disk / 1e6:.0f} MB on the disk, "
                f"{found.peak_disk / 1e6:.0f} MB while running.",
                highlight=False,
                soft_wrap=True,
            )
            _warn_of_budget(config, found.seconds, found.peak_disk)


@study_app.command()
def run(
    study: StudyName,
    output: Annotated[Path, typer.Option(help="Folder of the study; what is done there is not done again.")],
    data: DataPaths = None,
    workers: Workers = None,
    device: Device = "auto",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Begin failed runs anew.")] = False,
    runner: Annotated[str, typer.Option(help="local processes, or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; by default this machine.")] = None,
) -> None:
    """Carry out what is missing of a study. Ctrl-C saves; the same command goes on."""
    with errors_as_lines():
        from fer_attention.study import load_study, run_study

        config = load_study(study)
        paths = _paths(data, config)
        if runner not in ("local", "ray"):
            raise ValueError(f"--runner is local or ray, got {runner!r}.")
        speaker = _Speaker()
        try:
            with speaker.live:
                progress = run_study(
                    config,
                    output,
                    paths=paths,
                    workers=workers,
                    device=device,
                    retry_failed=retry_failed,
                    runner=runner,  # type: ignore[arg-type]
                    address=address,
                    on_progress=speaker.show,
                )
        except KeyboardInterrupt:
            fail(f"stopped; what was done is saved in {output}. The same command goes on from there.")
            sys.exit(130)
    for note in progress.notes:
        warn(note)
    for title, reason in progress.failed:
        fail(f"{title}: {reason}")
    text = f"{progress.done} of {progress.total} runs are done"
    if progress.failed:
        text += f", {len(progress.failed)} failed (--retry-failed begins them anew)"
    if progress.elsewhere:
        text += f", {len(progress.elsewhere)} were taken by another runner"
    out.print(f"{text}. fer-attention study report {output}", highlight=False, soft_wrap=True)
    if progress.failed:
        sys.exit(1)


@study_app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the report; by default FOLDER/report.")
    ] = None,
) -> None:
    """Say what is true: intervals, tests, plots, tables, as HTML, Markdown, LaTeX and CSV."""
    with errors_as_lines():
        from fer_attention.study.report import write_report

        written = write_report(folder, output)
        out.print(f"Report: {written.html}", soft_wrap=True, highlight=False)


def _paths(data: list[str] | None, study: StudyConfig) -> dict[str, Path]:
    paths = {}
    for item in data or []:
        name, separator, path = item.partition("=")
        if not separator:
            if len(study.data) != 1:
                raise ValueError(
                    f"--data takes NAME=PATH, one for each of {', '.join(study.data)}; got {item!r}."
                )
            name, path = next(iter(study.data)), item
        if not path or name in paths:
            raise ValueError(f"--data takes one PATH for {name}; got {' and '.join(data or [])}.")
        paths[name] = Path(path)
    return paths


def _print_conditions(study: StudyConfig, runs: list[RunSpec]) -> None:
    from fer_attention.study.config import FACTORS
    from fer_attention.study.estimate import counts_of

    out.print(f"[bold]{escape(study.title)}[/]", highlight=False)
    out.print(escape(study.question), highlight=False)
    varied = [factor for factor in FACTORS if len(study.levels(factor)) > 1]
    table = Table("model", *(name for name in varied if name in ("data", "fraction", "setting")))
    for heading in ("parameters", "MACs", "runs"):
        table.add_column(heading, justify="right")
    count = Counter(tuple(run.factors.values()) for run in runs)
    for run in {tuple(run.factors.values()): run for run in runs}.values():
        costs = counts_of(run)
        own = [str(run.factors[name]) for name in varied if name in ("data", "fraction", "setting")]
        table.add_row(
            run.config.model, *own, f"{costs.parameters / 1e6:.2f} M", f"{costs.macs / 1e6:.0f} M",
            str(count[tuple(run.factors.values())]),
        )  # fmt: skip
    out.print(table)
    seeds = ", ".join(map(str, study.replications.seeds))
    out.print(f"recipe {study.recipe}, seeds {seeds}, {runs[0].config.epochs} epochs", highlight=False)


def _warn_of_budget(study: StudyConfig, seconds: float, disk: float) -> None:
    if study.budget.hours is not None and seconds > study.budget.hours * 3600:
        warn(f"That is above the study's budget of {study.budget.hours:g} hours.")
    if study.budget.disk_gb is not None and disk > study.budget.disk_gb * 1e9:
        warn(f"That is above the study's budget of {study.budget.disk_gb:g} GB.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Speaker:
    """Live progress on a terminal, one line for each finished run elsewhere."""

    def __init__(self) -> None:
        self.live = Live(console=err, transient=True, refresh_per_second=4, auto_refresh=err.is_terminal)
        self._done = -1

    def show(self, progress: StudyProgress) -> None:
        ended = progress.done + len(progress.failed) + len(progress.elsewhere)
        if err.is_terminal:
            self.live.update(_panel(progress))
        elif ended != self._done:
            err.print(_headline(progress), highlight=False, soft_wrap=True)
        self._done = ended


def _headline(progress: StudyProgress) -> str:
    parts = [f"{progress.done} of {progress.total} done"]
    if progress.failed:
        parts.append(f"{len(progress.failed)} failed")
    if progress.seconds_left is not None:
        parts.append(f"{_duration(progress.seconds_left)} left")
    if progress.best is not None:
        title, accuracy = progress.best
        parts.append(f"best on the selection split: {accuracy:.2%} ({title})")
    return ", ".join(parts)


def _panel(progress: StudyProgress) -> RenderableType:
    table = Table("running", "epoch", "validation", box=None)
    for one in progress.running:
        accuracy = "" if one.accuracy is None else f"{one.accuracy:.2%}"
        table.add_row(one.title, f"{one.epoch}/{one.epochs}", accuracy)
    return Group(Text(_headline(progress)), table)
