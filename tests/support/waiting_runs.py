"""Processes that wait until all are ready, and then start together."""

from contextlib import ExitStack

from tests.support.forked import python


def run_together(script, *arguments, count=3):
    """Run a script in several processes at once; it prints "ready", and goes on after a line of input.

    Returns:
        (exit code, standard error) of each process.
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(python("-c", script, *arguments)) for _ in range(count)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        errors = [process.communicate()[1] for process in processes]
        return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]
