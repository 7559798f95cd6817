"""What pytest leaves out when it collects the package's doctests, and how its processes share the cores."""

import gc
import importlib.util
import os
from collections.abc import Generator

import pytest

# One thread each, read when torch loads: tiny networks gain nothing by a second one, and threads that wait
# for each other on a busy machine lose everything. Where a test or its children take more, they wait asleep:
# by default a waiting thread keeps its core busy, which made a study of tiny runs three times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# the kernels import Triton, which PyTorch's builds for some platforms do not bring
collect_ignore = (
    [] if importlib.util.find_spec("triton") else ["fer_attention/attention/fused/triton_kernels.py"]
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector imported modules and collected tests, which live to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
