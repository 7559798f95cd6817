"""Outputs that a user names."""

import os
import subprocess
import sys
import threading

import pytest

from fer_attention.outputs import check_output, output_file


def write(target, content=b"new"):
    check_output(target)
    with output_file(target) as file:
        file.write(content)


def test_a_file_is_replaced_and_its_folder_made(tmp_path):
    write(tmp_path / "a" / "b" / "out.json")
    write(tmp_path / "a" / "b" / "out.json", b"newer")
    assert (tmp_path / "a" / "b" / "out.json").read_bytes() == b"newer"


def test_an_error_keeps_what_was_written_so_far(tmp_path):
    def stopped():
        with output_file(tmp_path / "out") as file:
            file.write(b"part")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert (tmp_path / "out").read_bytes() == b"part"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "true").write_bytes(b"old")
    (tmp_path / "link").symlink_to("true")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "true").read_bytes() == b"new"


def test_a_link_to_a_file_that_is_not_there_yet_makes_it(tmp_path):
    (tmp_path / "link").symlink_to("later")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "later").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_named_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join(timeout=60)
    assert received == [b"new"]
    assert pipe.is_fifo()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_device_is_named():
    with pytest.raises(OSError, match="/dev/full"):
        write("/dev/full")


@pytest.mark.skipif(os.name != "posix", reason="a device of POSIX")
def test_a_device_stays_a_device():
    write("/dev/null")
    assert os.stat("/dev/null").st_rdev


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_standard_output_is_written_to_in_order(tmp_path, target, into):
    code = f"""
from fer_attention.outputs import check_output, output_file
print("before")
check_output({target!r})
with output_file({target!r}) as file:
    file.write(b"content\\n")
print("after")
"""
    file = tmp_path / "redirected"
    with file.open("wb") as redirected:
        stdout = redirected if into == "file" else subprocess.PIPE
        run = subprocess.run([sys.executable, "-c", code], stdout=stdout, cwd=tmp_path, check=True)
    found = file.read_bytes() if into == "file" else run.stdout
    assert found == b"before\ncontent\nafter\n"
    assert [one.name for one in tmp_path.iterdir()] == ["redirected"]


def test_standard_output_of_text_alone_is_written_to(monkeypatch):
    class Notebook:
        text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    notebook = Notebook()
    monkeypatch.setattr(sys, "stdout", notebook)
    write("-", "ä".encode())
    assert notebook.text == "ä"


def test_a_folder_is_refused_before_the_work(tmp_path):
    with pytest.raises(IsADirectoryError, match="Name a file in it"):
        check_output(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused_before_the_work(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="read-only"):
        check_output(tmp_path / "closed" / "out.json")
