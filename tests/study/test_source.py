"""Git commit in the record of a run."""

import subprocess

import pytest

from fer_attention.study import source


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A file that replaces the package's source.py, and a function that calls git in its folder."""
    file = tmp_path / "source.py"
    file.write_text("1")
    monkeypatch.setattr(source, "__file__", str(file))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def git(*arguments):
        settings = ("-c", "user.name=a", "-c", "user.email=a@b")
        result = subprocess.run(
            ["git", "-C", tmp_path, *settings, *arguments], check=True, capture_output=True, text=True
        )
        return result.stdout.strip()

    return file, git


def test_the_commit_of_the_checkout_is_marked_dirty_if_modified(package):
    file, git = package
    git("init")
    git("add", "source.py")
    git("commit", "-m", "one")
    assert source.source_commit.__wrapped__() == git("rev-parse", "HEAD")
    file.write_text("2")
    assert source.source_commit.__wrapped__() == git("rev-parse", "HEAD") + "-dirty"


def test_there_is_no_commit_outside_a_checkout_of_the_package(package):
    _, git = package
    assert source.source_commit.__wrapped__() is None
    git("init")
    git("commit", "--allow-empty", "-m", "another project")
    assert source.source_commit.__wrapped__() is None
