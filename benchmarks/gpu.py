"""Run all that waits for a GPU, in slices: the same command again continues where the last one stopped.

    python benchmarks/gpu.py                  # at most nine minutes; repeat until nothing remains
    python benchmarks/gpu.py --list           # the steps and their state, without running any
    python benchmarks/gpu.py --retry          # also repeat the steps that failed
    python benchmarks/gpu.py --quick --device cpu --records /tmp/records   # try the command itself

The steps are `pytest -m gpu`, file by file, the tables of `attention_cost.py`, the rates of `step_rate.py`,
the face detectors of `faces.py`, and the page. Each is a process of its own and writes a record of its own.
A step that a slice cuts short starts again in the next one; a step that does not fit into a whole slice has
failed. State and logs lie in `--state`. At the end of each slice the bars are printed.

Exit code: 0 if every step succeeded, 3 if steps remain, 1 if none remain and some failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bars import BARS, verdicts
from cost_record import read_records

from fer_attention.atomic import write_atomically

ROOT = Path(__file__).parent.parent
REMAIN = 3
START = 5.0
"""Seconds into a slice within which a step counts as having had the whole slice."""

NETWORKS = {"resnet50": (224, 80, 48), "resnetv2_50": (224, 80, 48), "vgg16": (224, 80, 48)}
GRID = ("vgg16", "vgg19", "resnet50", "resnet101", "resnet152", "resnetv2_50", "resnetv2_101", "resnetv2_152")
QUICK = ("--batch-size", "2", "--rounds", "1", "--least-ms", "0", "--warmup", "1")


@dataclass(frozen=True)
class Step:
    """One process: a name, and its arguments after `python`."""

    name: str
    arguments: tuple[str, ...]


def plan(options: argparse.Namespace) -> list[Step]:
    """List all steps, most important first."""
    device, dtype = options.device, "bfloat16" if options.device == "cuda" else "float32"
    busy = ["--allow-busy"] * options.allow_busy
    costs = options.records / "attention_cost"
    steps = [
        Step(f"tests {path.stem}", ("-m", "pytest", "-q", "-m", "gpu", str(path.relative_to(ROOT))))
        for path in gpu_tests()
        if not options.quick
    ]

    def cost(section: str, name: str, *more: object) -> None:
        record = costs / f"{name}.{device}.json"
        quick = QUICK if options.quick else ()
        fixed = ("--device", device, "--dtype", dtype, *quick, *busy, "--record", record)
        command = ("benchmarks/attention_cost.py", section, *more, *fixed)
        steps.append(Step(f"{section} {name}", tuple(map(str, command))))

    if options.quick:
        cost("blocks", "blocks_16", "--sizes", 16, "--stages", 1, "--attentions", "se", "cbam")
        cost("networks", "resnet18_32", "--networks", "resnet18", "--sizes", 32, "--attentions", "eca")
    else:
        for network, sizes in NETWORKS.items():
            for size in sizes:
                compiled = ["--compile"] * (network == "resnet50" and size == 224)
                cost("networks", f"{network}_{size}", "--networks", network, "--sizes", size, *compiled)
        for size in (224, 80, 48):
            cost("blocks", f"blocks_{size}", "--sizes", size)
        cost("profile", "profile_224", "--sizes", 224)
        for network in GRID:
            cost("grid", f"grid_{network}", "--networks", network)
        cost("photo", "photo")
    for model in ("resnet18",) if options.quick else ("resnet18", "resnet50"):
        small = ("--batch-size", "4", "--rounds", "1", "--workers", "0")
        size = small if options.quick else ("--batch-size", "512")
        record = options.records / f"step_rate_{model}.{device}.json"
        command = ("--models", model, *size, "--device", device, *busy, "--record", str(record))
        steps.append(Step(f"step rate {model}", ("benchmarks/step_rate.py", *command)))
    detectors = {"mtcnn": (), **({} if options.yolo is None else {"yolo": ("--yolo", str(options.yolo))})}
    for detector, weights in detectors.items():
        batches = ("1",) if options.quick else ("1", "8", "32")
        quick = ("--sizes", "160x120", "--rounds", "1", "--seconds", "0", "--no-memory")
        size = quick if options.quick else ()
        record = options.records / f"faces_{detector}.{device}.json"
        command = ("--detectors", detector, *weights, "--device", device, "--batch-sizes", *batches, *size)
        steps.append(
            Step(f"faces {detector}", ("benchmarks/faces.py", *command, *busy, "--record", str(record)))
        )
    if not options.quick:
        steps.append(Step("page", ("benchmarks/render_benchmarks.py",)))
    return steps


def gpu_tests() -> list[Path]:
    """Return the test files with tests for a GPU."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path for path in files if "mark.gpu" in path.read_text(encoding="utf-8")]


class Slices:
    """Steps and their state, stored after each step.

    Args:
        steps: All steps, in order.
        folder: Folder of the state and the logs.
    """

    def __init__(self, steps: Sequence[Step], folder: Path) -> None:
        self.steps = steps
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "state.json"
        self.state: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            self.state = json.loads(self.path.read_text(encoding="utf-8"))

    def outcome(self, step: Step) -> str | None:
        """Return "done" or the reason of a failure; None if the step has not finished, or differed then."""
        found = self.state.get(step.name, {})
        return found.get("outcome") if found.get("arguments") == list(step.arguments) else None

    def remaining(self, *, retry: bool = False) -> list[Step]:
        """Return the steps without an outcome, and those that failed if they are to be retried."""
        again = {"done"} if retry else {"done", "failed", "too long"}
        return [step for step in self.steps if self.outcome(step) not in again]

    def run(self, seconds: float, *, retry: bool = False) -> None:
        """Run steps for at most so many seconds."""
        began = time.monotonic()
        for step in self.remaining(retry=retry):
            spent = time.monotonic() - began
            if spent >= seconds:
                break
            print(f"{step.name} …", flush=True)
            started = time.monotonic()
            code = self._process(step, seconds - spent)
            took = time.monotonic() - started
            if code is None and spent > START:
                print(f"{step.name}: cut short, starts again in the next slice", flush=True)
                break
            outcome = "too long" if code is None else "failed" if code else "done"
            self.state[step.name] = {
                "arguments": list(step.arguments),
                "outcome": outcome,
                "seconds": round(took, 1),
            }
            write_atomically(self.path, json.dumps(self.state, indent=1).encode() + b"\n")
            print(f"{step.name}: {outcome} in {took:.0f} s{self._last_lines(step, outcome)}", flush=True)

    def log(self, step: Step) -> Path:
        """Return the path of a step's output."""
        return self.folder / f"{step.name.replace(' ', '_')}.log"

    def _process(self, step: Step, seconds: float) -> int | None:
        """Run a step and return its exit code; None if the time was not enough."""
        with self.log(step).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  (our own scripts)
                [sys.executable, *step.arguments],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=os.name == "posix",
            )
            try:
                return process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                return None
            finally:
                if process.poll() is None:
                    _kill(process)

    def _last_lines(self, step: Step, outcome: str) -> str:
        if outcome == "done":
            return ""
        lines = self.log(step).read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return "".join(f"\n    {line}" for line in [f"(all of it: {self.log(step)})", *lines])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children."""
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a slice and report."""
    options = parser().parse_args(arguments)
    if options.device == "cuda" and not options.list and not torch.cuda.is_available():
        raise SystemExit(
            "torch finds no CUDA GPU. To try the command itself: --quick --device cpu --records FOLDER"
        )
    slices = Slices(plan(options), options.state)
    if options.list:
        for step in slices.steps:
            command = shlex.join(["python", *step.arguments])
            print(f"{slices.outcome(step) or 'waiting':9} {step.name:24} {command}")
        return 0
    slices.run(options.minutes * 60, retry=options.retry)
    print_bars(options.records / "attention_cost", options.device)
    remaining = slices.remaining()
    failed = [step.name for step in slices.steps if slices.outcome(step) in ("failed", "too long")]
    if failed:
        print(f"Failed: {', '.join(failed)}. Logs: {options.state}. --retry repeats them.")
    if remaining:
        print(f"{len(remaining)} of {len(slices.steps)} steps remain. Run the same command again.")
        return REMAIN
    print(f"All {len(slices.steps)} steps have run.")
    return 1 if failed else 0


def print_bars(folder: Path, device: str) -> None:
    """Print each bar for a device with its measurement and verdict."""
    records = read_records(folder) if folder.is_dir() else {}
    for found in verdicts(records, [bar for bar in BARS if bar.device == device]):
        value = "" if found.value is None else f" {found.ours} {found.value:.3f}"
        print(f"{found.word.strip('*'):12} {found.bar.text}{value}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--minutes", type=float, default=9, help="length of a slice")
    made.add_argument("--records", type=Path, default=ROOT / "benchmarks" / "records")
    made.add_argument("--state", type=Path, default=ROOT / "runs" / "gpu", help="folder of state and logs")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--yolo", type=Path, help="weights of a YOLO face model")
    made.add_argument("--quick", action="store_true", help="tiny sizes, to try the command itself")
    made.add_argument("--list", action="store_true", help="print the steps and their state only")
    made.add_argument("--retry", action="store_true", help="also repeat the steps that failed")
    made.add_argument(
        "--allow-busy", action="store_true", help="write records on a busy machine, too; they say so"
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
