"""`fer-attention study …`: plan, run and report a study."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from fer_attention.cli.common import Device, err, examples, fail, interruptions, out, say, warn
from fer_attention.cli.training_output import duration

if TYPE_CHECKING:
    from fer_attention.study import RunSpec, StudyConfig, StudyProgress

study_app = typer.Typer(help="Controlled experiments over models, data and seeds.", no_args_is_help=True)

StudyName = Annotated[str, typer.Argument(help="A study of the package (see study list), or a YAML file.")]
DataPaths = Annotated[
    list[str] | None,
    typer.Option("--data", help="NAME=PATH of a data set; PATH alone if the study has one only."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at a time; by default as many as cores, GPUs and memory allow."),
]


@study_app.command("list", epilog=examples("fer-attention study list"))
def list_studies() -> None:
    """List the studies that come with the package."""
    from fer_attention.study import expand, load_study, study_names

    table = Table("name", "runs", "question")
    for name in study_names():
        study = load_study(name)
        table.add_row(name, str(len(expand(study))), study.question)
    out.print(table)


@study_app.command(epilog=examples("fer-attention study plan smoke --data fer2013.zip"))
def plan(
    study: StudyName,
    data: DataPaths = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the study, to count finished runs.")] = None,
    workers: Workers = None,
    device: Device = "auto",
) -> None:
    """Show the runs of a study, how long they take here and how much disk space they need."""
    from fer_attention.data import describe
    from fer_attention.study import expand, load_study
    from fer_attention.study.datasets import DataSets
    from fer_attention.study.estimate import estimate
    from fer_attention.study.runner import check_configs
    from fer_attention.study.store import Store

    config = load_study(study)
    paths = _paths(data, config)
    unread = DataSets(config, paths)
    check_configs(expand(config), device)
    start = time.perf_counter()
    sets = unread.all()
    reading = time.perf_counter() - start
    left = runs = expand(config, sets)
    for name, crops in sets.items():
        say(f"data set {name}: {describe(crops)}", err)
    _print_conditions(config, runs)
    if output is not None:
        states = Counter(Store(output).state(run.id) for run in runs)
        left = [run for run in runs if Store(output).state(run.id) == "open"]
        say(f"{states['done']} done, {states['failed']} failed, {states['open']} open in {output}")
    if left:
        found = estimate(left, sets, workers=workers, device=device, reading=reading)
        say(
            f"{len(left)} runs, {found.workers} at a time: about {duration(found.seconds)} "
            f"(within a factor of two; from {found.measured}), of which {duration(found.overhead)} for "
            f"starting processes, reading data and writing files; {found.disk / 1e6:.0f} MB on the disk."
        )
        hours, disk_gb = config.budget.hours, config.budget.disk_gb
        if hours is not None and found.seconds > hours * 3600:
            warn(f"This exceeds the study's budget of {hours:g} hours.")
        if disk_gb is not None and found.disk > disk_gb * 1e9:
            warn(f"This exceeds the study's budget of {disk_gb:g} GB.")


@study_app.command(
    epilog=examples(
        "fer-attention study run smoke --data fer2013.zip --output my_smoke",
        "fer-attention study run my_study.yaml --data faces=faces/ --output my_study --workers 4",
    )
)
def run(
    study: StudyName,
    output: Annotated[Path, typer.Option(help="Folder of the study; finished runs there are kept.")],
    data: DataPaths = None,
    workers: Workers = None,
    device: Device = "auto",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Restart failed runs.")] = False,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster; by default this machine.")
    ] = None,
) -> None:
    """Run what is missing of a study. Ctrl-C saves; the same command resumes."""
    from fer_attention.study import load_study, run_study

    config = load_study(study)
    display = _Display()
    with interruptions(output), display.live:
        progress = run_study(
            config,
            output,
            paths=_paths(data, config),
            workers=workers,
            device=device,
            retry_failed=retry_failed,
            engine=engine,  # type: ignore[arg-type]
            address=address,
            on_progress=display.show,
        )
    for note in progress.notes:
        warn(note)
    for title, reason in progress.failed:
        fail(f"{title}: {reason}")
    ends = [f"{progress.done} of {progress.total} runs are done"]
    if progress.failed:
        ends.append(f"{len(progress.failed)} failed (--retry-failed restarts them)")
    if progress.elsewhere:
        ends.append(f"{len(progress.elsewhere)} were taken by another runner")
    say(f"{', '.join(ends)}. fer-attention study report {output}")
    if progress.failed:
        raise typer.Exit(1)


@study_app.command(epilog=examples("fer-attention study report my_smoke"))
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the report; by default FOLDER/report.")
    ] = None,
) -> None:
    """Write the report: intervals, tests, plots and tables, as HTML, Markdown, LaTeX and CSV."""
    from fer_attention.study.report import write_report

    say(f"Report: {write_report(folder, output)}")


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
    from fer_attention.study.estimate import counts_of

    out.print(study.title, style="bold")
    out.print(study.question)
    varied = [factor for factor in ("data", "fraction", "setting") if len(study.levels(factor)) > 1]
    if any(level.options for level in study.factors.attention):
        varied.insert(0, "attention")
    numbers = [Column(heading, justify="right") for heading in ("parameters", "MACs", "runs")]
    table = Table("model", *varied, *numbers)
    count = Counter(tuple(run.factors.values()) for run in runs)
    for condition, run in {tuple(run.factors.values()): run for run in runs}.items():
        costs = counts_of(run)
        levels = (str(run.factors[factor]) for factor in varied)
        sizes = f"{costs.parameters / 1e6:.2f} M", f"{costs.macs / 1e6:.0f} M"
        table.add_row(run.config.model, *levels, *sizes, str(count[condition]))
    out.print(table)
    seeds = ", ".join(map(str, study.replications.seeds))
    say(f"recipe {study.recipe}, seeds {seeds}, {runs[0].config.epochs} epochs")


class _Display:
    """Progress of every run on a terminal; elsewhere a line whenever a run ends."""

    def __init__(self) -> None:
        self.live = Live(console=err, transient=True, auto_refresh=err.is_terminal)
        self._line = ""

    def show(self, progress: StudyProgress) -> None:
        counts = f"{progress.done} of {progress.total} done"
        if progress.failed:
            counts += f", {len(progress.failed)} failed"
        left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
        if err.is_terminal:
            table = Table("running", "epoch", "validation accuracy", box=None)
            for run in progress.running:
                accuracy = "" if run.accuracy is None else f"{run.accuracy:.2%}"
                table.add_row(run.title, f"{run.epoch}/{run.epochs}", accuracy)
            self.live.update(Group(Text(counts + left), table))
        elif counts != self._line:
            say(counts + left, err)
        self._line = counts
