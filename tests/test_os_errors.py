import errno

import pytest

from fer_attention.os_errors import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a"), "no such file or directory"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "it is a folder, and a file is needed"),
        (FileExistsError(errno.EEXIST, "File exists", "a"), "it is a file, and a folder is needed"),
        (OSError(errno.ENOSPC, "No space left on device", "a"), "no space left on device"),
        (OSError("cannot seek"), "cannot seek"),
    ],
)
def test_a_reason_has_neither_number_nor_path(error, reason):
    assert reason_of(error) == reason
