"""Git commit of the package, for the record of a run."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


@cache
def source_commit() -> str | None:
    """Return the commit of the package's checkout, with `-dirty` if modified; None outside a checkout."""
    folder = Path(__file__).parent
    git = ["git", "-C", str(folder)]
    try:
        # An environment may be inside another repository: only a repository that tracks this file counts.
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
