"""Engines that execute runs; see test_resume.py for real processes and test_ray.py for Ray."""

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import pytest

from fer_attention.study import engines


@pytest.mark.parametrize(
    ("code", "reason"),
    [(-9, "ended by SIGKILL: perhaps out of memory"), (-11, "ended by SIGSEGV"), (3, "exit code 3")],
)
def test_the_cause_of_a_death_is_the_signal_or_exit_code(code, reason):
    dead = engines._Worker(None)
    dead.process = SimpleNamespace(exitcode=code)
    dead.pool = SimpleNamespace(shutdown=lambda: None)
    dead.future = Future()
    dead.future.set_exception(BrokenProcessPool())
    assert reason in dead.cause()
