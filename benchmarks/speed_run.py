"""The speed run: from nothing to 65 % on PrivateTest on two cores, timed over several seeds.

    python benchmarks/speed_run.py --data fer2013.zip --output runs/speed \
        --record benchmarks/records/speed_run.cpu.json
    python benchmarks/speed_run.py --budget                                   # other work in speed runs

Each run is what a user types, in new processes: `fer-attention train speedrun` with its seed, then
`fer-attention evaluate`, which opens PrivateTest once. Its time is that of both commands, from an unread zip
file to the measured accuracy. Runs follow each other and must be the only work on the machine. Both tables
are those of docs/training.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, median

from cost_record import SpeedRun, SpeedRuns, write_record
from cost_setup import environment_of
from machine_load import add_option, check_before, refuse_if_busy, watched_load

from fer_attention.evaluation import ALL, NEW, complexity
from fer_attention.models.factory import from_spec
from fer_attention.study import load_study
from fer_attention.study.analysis.statistics import mean_interval
from fer_attention.study.estimate import training_work
from fer_attention.study.grid import expand
from fer_attention.training import TrainConfig, load_recipe
from fer_attention.training.precision import spec_of

RECIPE = "speedrun"
TRAINING_IMAGES, SELECTION_IMAGES = 28_709, 3_589  # FER2013's official split
RECIPES_IN_BUDGET = ("quick", "compact", "robust", "strong")
STUDIES_IN_BUDGET = ("smoke", "open_gates", "open_gates_full", "two-by-two", "cost")
PROGRAM = (sys.executable, "-m", "fer_attention.cli")


def main() -> None:
    """Train, measure, print and optionally write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="FER2013, as a folder, zip or CSV file")
    parser.add_argument("--output", type=Path, help="new folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="changes")
    parser.add_argument("--record", type=Path)
    parser.add_argument(
        "--budget", action="store_true", help="print the work of recipes and studies, and stop"
    )
    add_option(parser)
    options = parser.parse_args()
    if options.budget:
        print(budget())
        return
    if options.data is None or options.output is None:
        parser.error("pass --data and --output, or --budget")
    if options.output.exists():
        parser.error(f"{options.output} exists; a run that resumes has no time. Choose a new folder.")
    check_before(allow=options.allow_busy, record=options.record)
    runs = []
    with watched_load() as load:
        for seed in options.seeds:
            runs.append(speed_run(options.data, options.output / f"seed{seed}", seed, options.changes))
            print(runs[-1].model_dump_json(), flush=True)
    record = SpeedRuns(
        recipe=RECIPE,
        command=_command(options.seeds, options.changes),
        environment=environment_of("cpu", load),
        runs=tuple(runs),
    )
    print(table(record))
    refuse_if_busy(load, allow=options.allow_busy, record=options.record)
    if options.record:
        write_record(options.record, record)


def speed_run(data: Path, output: Path, seed: int, changes: list[str]) -> SpeedRun:
    """Train and evaluate one seed by the commands, timed."""
    settings = [word for change in (f"seed={seed}", *changes) for word in ("--set", change)]
    numbers = output / "private.json"
    source = ["--data", str(data)]
    began = time.perf_counter()
    _run("train", RECIPE, *source, "--output", str(output), *settings)
    trained = time.perf_counter()
    weights = str(output / "best.safetensors")
    _run("evaluate", weights, *source, "--json", str(numbers))
    ended = time.perf_counter()
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    found = json.loads(numbers.read_text(encoding="utf-8"))["results"]
    return SpeedRun(
        seed=seed,
        precision=result["environment"]["precision"],
        train_seconds=round(trained - began, 1),
        evaluate_seconds=round(ended - trained, 1),
        epoch=result["best"]["epoch"],
        public=result["best"]["validation_accuracy"],
        private=found[ALL]["accuracy"],
        private_without_copies=found[NEW]["accuracy"],
    )


def _command(seeds: list[int], changes: list[str]) -> str:
    """Return the command with the settings that matter, without the paths of this machine."""
    words = [
        "python benchmarks/speed_run.py --data fer2013.zip --output runs/speed --seeds",
        *map(str, seeds),
    ]
    return " ".join([*words, *(f"--set {change}" for change in changes)])


def _run(*words: str) -> None:
    subprocess.run([*PROGRAM, *words], check=True)  # noqa: S603  (our own commands)


def table(record: SpeedRuns) -> str:
    """Format the runs and their mean as a Markdown table."""
    lines = [
        "| seed | minutes | PublicTest | PrivateTest | without copies |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    minutes = [(run.train_seconds + run.evaluate_seconds) / 60 for run in record.runs]
    parts = [
        [getattr(run, name) for run in record.runs]
        for name in ("public", "private", "private_without_copies")
    ]
    for run, taken in zip(record.runs, minutes, strict=True):
        shares = (run.public, run.private, run.private_without_copies)
        lines.append(f"| {run.seed} | {taken:.1f} | " + " | ".join(f"{share:.2%}" for share in shares) + " |")
    means = " | ".join(_mean(values) for values in parts)
    lines.append(f"| mean (95 % interval); median of the times | {median(minutes):.1f} | {means} |")
    return "\n".join(lines)


def budget() -> str:
    """Format the work of recipes and studies on FER2013 in speed runs as a Markdown table."""
    unit = _work(load_recipe(RECIPE))
    lines = ["| training on FER2013 | speed runs |", "| --- | ---: |"]
    for name in RECIPES_IN_BUDGET:
        lines.append(f"| recipe `{name}` | {_rounded(_work(load_recipe(name)) / unit)} |")
    for name in STUDIES_IN_BUDGET:
        runs = expand(load_study(name))
        work = sum(_work(run.config, float(run.factors["fraction"])) for run in runs)
        lines.append(f"| study `{name}`, {len(runs)} runs | {_rounded(work / unit)} |")
    return "\n".join(lines)


def _work(config: TrainConfig, fraction: float = 1.0) -> float:
    macs = complexity(from_spec(spec_of(config), device="meta")).macs
    return training_work(macs, config.epochs, fraction * TRAINING_IMAGES, SELECTION_IMAGES)


def _rounded(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{float(f'{number:.2g}'):,.0f}"


def _mean(values: list[float]) -> str:
    low, high = mean_interval(values)
    return f"{fmean(values):.2%} ({100 * low:.2f} to {100 * high:.2f})"


if __name__ == "__main__":
    main()
