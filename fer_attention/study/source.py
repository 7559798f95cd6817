"""Which commit of the package carries out a run."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


@cache
def source_commit() -> str | None:
    """Commit of the checkout that the package lies in, with `-dirty` if changed; None without one."""
    folder = Path(__file__).parent
    git = ["git", "-C", str(folder)]
    try:
        # An environment may lie inside another repository: only one that holds this file counts.
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], check=True, capture_output=True)  # noqa: S603
        found = subprocess.run(  # noqa: S603
            [*git, "describe", "--always", "--dirty", "--abbrev=40", "--match="],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip() or None
