"""Whatever is wrong with a file, reading it gives one error of ours: bounded, and naming the file."""

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("kind", "count"), [("weights", 150), ("configs", 150), ("data", 60)])
def test_damaged_files_are_read_or_refused_in_one_bounded_message(kind, count):
    command = [sys.executable, "-m", "tests.support.fuzz", kind, str(count)]  # its memory is measured
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) refused", result.stdout)[1]) > count // 3
