"""Run `predict` or `faces` over a folder, kill it at random moments, and compare the result with a whole run.

    python -m tests.support.killed_runs predict PHOTOS WORK KILLS SEED

The package is imported once; each run is a fork of this process, so that a kill costs no start.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

JOURNALS = {"predict": ".predict.jsonl", "faces": ".faces.jsonl"}


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder but journals and locks; temporary files count."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(tuple(JOURNALS.values()))
    }


def start(command: str, photos: Path, output: Path, log: Path) -> int:
    """Fork a run of a command, and return its process id."""
    options = ["--output", output, "--detector", "none", "--workers", "2", "--device", "cpu"]
    if command == "predict":
        options += ["--jsonl", output.with_suffix(".jsonl"), "--quiet"]
    if process := os.fork():
        return process
    from fer_attention.cli import app

    code = 70
    try:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        app([command, str(photos), *map(str, options)])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code)


def lines(file: Path) -> int:
    """Return the number of lines of a file that may not exist yet."""
    return file.read_bytes().count(b"\n") if file.exists() else 0


def killed(process: int, journal: Path, draw: random.Random) -> bool:
    """Kill a run, in four of five cases after its next finished chunk; False if it had ended with code 0."""
    before, end = lines(journal), time.monotonic() + draw.uniform(0, 2)
    after_a_chunk = draw.random() < 0.8
    while lines(journal) == before if after_a_chunk else time.monotonic() < end:
        if (ended := os.waitpid(process, os.WNOHANG))[0]:
            break
        time.sleep(0.001)
    else:
        time.sleep(draw.uniform(0, 0.3))
        os.kill(process, signal.SIGKILL)
        ended = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(ended[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a run ended with code {code}")
    return code != 0


def main(command: str, photos: Path, work: Path, kills: int, seed: int) -> None:
    import torch  # noqa: F401 - before the forks

    import fer_attention.pipeline.runs  # noqa: F401
    from fer_attention.cli.lazy import LazyGroup

    LazyGroup.load(command)
    draw, log = random.Random(seed), work / "log.txt"
    whole = work / "whole"
    if os.waitstatus_to_exitcode(os.waitpid(start(command, photos, whole, log), 0)[1]) != 0:
        raise SystemExit(f"the whole run failed:\n{log.read_text()}")
    expected = contents(whole)
    done = rounds = with_chunk = 0
    while done < kills:
        rounds += 1
        output = work / f"round{rounds}"
        journal = output / JOURNALS[command]
        while True:
            process = start(command, photos, output, log)
            if done < kills and killed(process, journal, draw):
                done += 1
                with_chunk += lines(journal) > 1
                continue
            if done == kills:
                os.waitpid(process, 0)
            break
        if contents(output) != expected:
            raise SystemExit(f"round {rounds} differs:\n{log.read_text()}")
        if command == "predict" and output.with_suffix(".jsonl").read_bytes() != (
            whole.with_suffix(".jsonl").read_bytes()
        ):
            raise SystemExit(f"the records of round {rounds} differ")
    print(f"{done} kills, {with_chunk} after the first chunk, {rounds} runs ended with the same files")


if __name__ == "__main__":
    name, *folders, number, start_of_numbers = sys.argv[1:]
    main(name, *map(Path, folders), int(number), int(start_of_numbers))
