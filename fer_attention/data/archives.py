"""Archives: zip files, read in place, and tar files, unpacked since theirs cannot be read in any order."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from fer_attention.bounded import cut
from fer_attention.data.records import DataError
from fer_attention.faces.photo_files import is_junk

FREE = 0.9
"""Share of the free space of the temporary folder that an archive may fill."""

MAX_MEMBER = 2_000_000_000
"""Bytes of one file of an archive, unpacked."""

FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""For Python 3.10.12, 3.11.4 and later; files alone are unpacked, whose names are checked before."""


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack the files of a tar archive, compressed or not, for the `with` block; links are left out.

    Raises:
        DataError: The archive is damaged, larger than the free space, or has a file outside its folder.
    """
    with tempfile.TemporaryDirectory(prefix="fer_attention_") as folder:
        room = int(FREE * shutil.disk_usage(folder).free)
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    if not member.isfile() or is_junk(member.name):
                        continue
                    room -= member.size
                    if member.size > MAX_MEMBER:
                        raise DataError(
                            f"{path}: {cut(member.name)} has {member.size / 1e9:.1f} GB unpacked, too large "
                            "for an image or a table. Unpack the rest, and pass the folder."
                        )
                    if room < 0:
                        raise DataError(
                            f"{path} does not fit into {tempfile.gettempdir()}. Unpack it, pass the folder."
                        )
                    if ".." in PurePosixPath(member.name).parts:
                        raise DataError(f"{path}: {cut(member.name)} would be outside the archive's folder.")
                    member.name = member.name.lstrip("/")
                    archive.extract(member, folder, set_attrs=False, **FILTER)
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} is not a whole tar archive: {cut(str(error))}.") from error
        yield Path(folder)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file.

    Raises:
        DataError: It is damaged, or of a later version of the format.
    """
    try:
        return zipfile.ZipFile(path)
    except NotImplementedError as error:  # of a later version of the format
        raise DataError(
            f"{path} cannot be read ({error}). Unpack it with another program, and pass the folder."
        ) from error
    except Exception as error:  # damaged directories of archives raise many kinds
        raise DataError(
            f"{path} is neither a folder nor a table nor a whole zip or tar file: {cut(str(error))}."
        ) from error
