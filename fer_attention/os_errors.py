"""Reasons of errors of the operating system in plain words, without numbers."""

from __future__ import annotations

_REASONS: dict[type[OSError], str] = {
    FileExistsError: "it is a file, and a folder is needed",
    NotADirectoryError: "a part of the path is a file, not a folder",
    IsADirectoryError: "it is a folder, and a file is needed",
}


def reason_of(error: OSError) -> str:
    """Return the reason of an error as the second half of a sentence, without its path.

    >>> reason_of(IsADirectoryError(21, "Is a directory", "photos"))
    'it is a folder, and a file is needed'
    """
    return _REASONS.get(type(error), str(error.strerror or error).lower())
