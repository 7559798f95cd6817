"""Whatever is wrong with a file, reading it gives one error of ours: bounded, and naming the file."""

import pytest

from tests.support.fuzz import run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("kind", "count"), [("weights", 150), ("configs", 150), ("data", 60)])
def test_damaged_files_are_read_or_refused_in_one_bounded_message(kind, count):
    tally = run(kind, count)
    assert not tally.broken, "\n".join(tally.broken)
    assert tally.refused > count // 3
