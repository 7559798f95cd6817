"""Processes that wait until all are ready, and then start together."""

import os
import subprocess
import sys
from contextlib import ExitStack

from tests.support.paths import ROOT


def run_together(script, *arguments, count=3):
    """Run a script in several processes at once; it prints "ready", and goes on after a line of input.

    Returns:
        (exit code, standard error) of each process.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, env=environment, text=True, **pipes))
            for _ in range(count)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        errors = [process.communicate()[1] for process in processes]
        return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]
