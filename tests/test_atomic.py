"""Files that are written whole or not at all, whatever their names."""

import os
import re

import pytest

from fer_attention.atomic import leftovers, replacing, temporary_name, write_atomically


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "a",
        ".hidden",
        "a." + "b" * 200,
        "x" * 251 + ".mp4",
        "ü" * 125 + ".json",
        "笑" * 84,
        "a" * 255,
    ],
)
def test_any_valid_name_can_be_written(tmp_path, name):
    write_atomically(tmp_path / name, b"first")
    write_atomically(tmp_path / name, b"second")
    assert (tmp_path / name).read_bytes() == b"second"
    assert os.listdir(tmp_path) == [name]
    assert len(os.fsencode(temporary_name(name))) <= 255


def test_names_that_are_not_utf_8_can_be_written(tmp_path):
    name = os.fsdecode(b"\xff" * 250 + b".png")
    try:
        write_atomically(tmp_path / name, b"content")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert os.listdir(tmp_path) == [name]


def test_the_temporary_file_has_the_suffix_of_the_file(tmp_path):
    with replacing(tmp_path / "clip.mp4") as temporary:
        assert re.fullmatch(r"\.clip\.mp4\.[0-9a-f]{8}\.mp4", temporary.name)
        assert list(leftovers(tmp_path, ".mp4")) == [temporary]


def test_an_error_leaves_the_old_content_and_no_temporary_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(TypeError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text(5)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_leftovers_are_temporary_files_and_nothing_else(tmp_path):
    (tmp_path / "below").mkdir()
    for name in (".mine.png", "a.0123abcd.png", ".a.png.0123abcd.jpg", ".a.png.0123ABCD.png"):
        (tmp_path / "below" / name).touch()
    left = tmp_path / "below" / temporary_name("x" * 250 + ".png")
    left.touch()
    assert list(leftovers(tmp_path, ".png")) == [left]


def test_leftovers_of_some_files_are_theirs_alone(tmp_path):
    names = "a.png", "a[1].png", "x" * 250 + ".png"
    left = {name: tmp_path / temporary_name(name) for name in (*names, "other.png")}
    for path in left.values():
        path.touch()
    found = leftovers(tmp_path, ".png", of=[tmp_path / name for name in names])
    assert set(found) == {left[name] for name in names}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*absent does not exist"):
        write_atomically(tmp_path / "absent" / "a.txt", b"")


def test_an_error_names_the_file_and_not_its_temporary_one(tmp_path):
    def fails(temporary):
        raise OSError(28, "No space left on device", str(temporary))

    with pytest.raises(OSError, match=r"/a\.txt'$"), replacing(tmp_path / "a.txt") as temporary:
        fails(temporary)
    assert not list(tmp_path.iterdir())
