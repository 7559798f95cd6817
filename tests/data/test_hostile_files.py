"""Data sets that would fill the memory or never end: refused by name, or skipped where that was asked for."""

import io
import os
import shutil
import zipfile

import pytest

from fer_attention.data import DataError, load_data, with_votes
from fer_attention.data.sources import MAX_FILE, MAX_NAME
from tests.support.datasets import VOTES_HEADER, cell, noise, save, write_fer2013_csv, write_text

MANY = ["Training"] * 70


class Zeros(io.RawIOBase):
    """A file of zeros, of any length."""

    def __init__(self, length):
        self.left = length

    def readable(self):
        return True

    def readinto(self, buffer):
        count = min(len(buffer), self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        return count


@pytest.fixture
def folder(tmp_path):
    for number in range(35):
        for emotion in ("happy", "sad"):
            save(tmp_path / "faces" / emotion / f"{number}.png", noise(number))
    return tmp_path / "faces"


@pytest.fixture
def archive(folder):
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*.png")):
            file.write(path, path.relative_to(folder))
    return folder.with_suffix(".zip")


def with_bomb(path):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file, file.open("sad/bomb.png", "w") as member:
        shutil.copyfileobj(Zeros(MAX_FILE + 1), member, 1 << 20)


def with_long_name(path):
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"sad/{'x' * MAX_NAME}.png", file.read("sad/0.png"))


def with_directory_byte(offset, value):
    """Change one field of the first entry in a zip's central directory."""

    def change(path):
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + offset] = value
        path.write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (with_bomb, "sad/bomb.png", "more than 200 MB, too large"),
        (with_long_name, "sad/xxx", "its path has 1008 characters"),
        (with_directory_byte(10, 97), "happy/0.png", "compression method is not supported"),
        (with_directory_byte(8, 1), "happy/0.png", "encrypted"),
    ],
    ids=["large member", "long name", "unknown compression", "encrypted"],
)
def test_a_member_of_a_zip_that_cannot_be_read_is_named_and_can_be_skipped(change, name, reason, archive):
    change(archive)
    with pytest.raises(DataError, match=reason) as caught:
        load_data(archive)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 1000
    faces = load_data(archive, on_error="skip")
    [(skipped, why)] = faces.skipped
    assert skipped.startswith(name)
    assert reason in why


def test_a_zip_of_a_later_version_of_the_format_is_refused(archive):
    with_directory_byte(6, 99)(archive)
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match=r"zip file version 9\.9.*Unpack it with another program"):
            load_data(archive, on_error=on_error)


@pytest.mark.parametrize("stream", [False, True])
def test_pipes_and_huge_files_in_a_folder_are_skipped(stream, folder):
    os.mkfifo(folder / "sad" / "pipe.png")
    with (folder / "sad" / "sparse.jpg").open("wb") as file:
        file.truncate(20 * MAX_FILE)
    faces = load_data(folder, on_error="skip", stream=stream)
    assert len(faces) == 70
    assert [name for name, _ in faces.skipped] == ["sad/pipe.png", "sad/sparse.jpg"]
    with pytest.raises(DataError, match=r"sad/pipe\.png: .*not a regular file"):
        load_data(folder, stream=stream)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"3,{'1 ' * 600_000},Training", "a line of more than 1000000 characters"),
        (f'3,"{"1 " * 70_000}",Training', "field limit"),
        (f"{'9' * 5000},{cell(noise(0))},Training", "is not one of 0 (angry)"),
        (f"3,{'9' * 5000}{cell(noise(0))},Training", "is above 255"),
    ],
    ids=["line", "field", "label", "pixel"],
)
def test_rows_of_any_length_are_skipped_and_the_rest_is_read(row, reason, tmp_path):
    path = write_fer2013_csv(tmp_path / "fer2013.csv", usages=MANY)
    with path.open("a") as file:
        file.write(f"{row}\n3,{cell(noise(7))},Training\n")
    faces = load_data(path, on_error="skip")
    assert len(faces) == 71
    [(name, why)] = faces.skipped
    assert name == "row 71"
    assert reason in why
    assert len(why) < 400


def test_a_line_without_end_is_refused(tmp_path):
    path = write_fer2013_csv(tmp_path / "fer2013.csv", usages=MANY)
    with path.open("ab") as file:
        file.truncate(30_000_000)
    with pytest.raises(DataError, match=r"fer2013.csv cannot be read beyond row 70: a line has more than"):
        load_data(path, on_error="skip")


def test_votes_of_any_number_of_digits_are_skipped(tmp_path):
    crops = load_data(write_fer2013_csv(tmp_path / "fer2013.csv", usages=["Training"] * 3))
    votes = ["Training,fer0.png,9,1,0,0,0,0,0,0,0,0"] * 2
    votes.append(f"Training,fer1.png,{'9' * 5000},1,0,0,0,0,0,0,0,0")
    table = write_text(tmp_path / "fer2013new.csv", VOTES_HEADER, *votes)
    assert len(with_votes(crops, table, on_error="skip")) == 2
    with pytest.raises(DataError, match="row 3: the votes .* are not all whole numbers") as caught:
        with_votes(crops, table)
    assert len(str(caught.value)) < 1000
