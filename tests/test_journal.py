"""Journals of long runs: locked, whole after a kill, and confined to their folder."""

import os

import pytest

from fer_attention.journal import JournalFile, inside

PATH = ".run.jsonl"


@pytest.fixture
def path(tmp_path):
    return tmp_path / PATH


def write(path, *entries):
    with JournalFile(path) as journal:
        for entry in entries:
            journal.append(entry)


def entries_of(path):
    with JournalFile(path) as journal:
        return journal.entries


def test_entries_are_read_back_in_order(path):
    write(path, {"one": 1}, {"two": "é\n"})
    write(path, {"three": None})
    assert entries_of(path) == [{"one": 1}, {"two": "é\n"}, {"three": None}]


@pytest.mark.parametrize("torn", range(1, 12))
def test_a_half_written_last_line_is_dropped_and_replaced(path, torn):
    write(path, {"one": 1}, {"two": 2})
    path.write_bytes(path.read_bytes()[:-torn])
    assert entries_of(path) == [{"one": 1}][: 1 if torn <= 11 else 0]
    write(path, {"three": 3})
    assert entries_of(path) == [{"one": 1}, {"three": 3}]


@pytest.mark.parametrize("line", [b"no JSON\n", b"[1]\n", b'{"a": 1}\r{}\n', b"\n"])
def test_a_damaged_line_is_named_and_another_run_is_let_in(path, line):
    path.write_bytes(line)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"{PATH} is damaged"):
            JournalFile(path)
    assert path.read_bytes() == line


def test_a_second_run_is_refused_while_the_first_one_works(path):
    with JournalFile(path) as journal:
        journal.append({"one": 1})
        with pytest.raises(ValueError, match="Another run is writing to"):
            JournalFile(path)
    assert entries_of(path) == [{"one": 1}]


def test_a_reset_replaces_all_lines(path):
    write(path, {"one": 1}, {"two": 2})
    with JournalFile(path) as journal:
        journal.reset({"new": 0})
        journal.append({"next": 1})
    assert entries_of(path) == [{"new": 0}, {"next": 1}]


def test_a_reset_that_is_stopped_keeps_the_lines(path, monkeypatch):
    write(path, {"one": 1})

    def stop(*_):
        raise KeyboardInterrupt

    with JournalFile(path) as journal:
        monkeypatch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            journal.reset({"new": 0})
    assert entries_of(path) == [{"one": 1}]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "link/x", "link"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of the folder"):
        inside(tmp_path / "out", name)
    assert inside(tmp_path / "out", "a/../b.png") == tmp_path / "out" / "a/../b.png"
