"""Requests in, HTML out: what is answered, what is kept, what is escaped."""

import re
import threading

import numpy as np
import pytest
from PIL import Image

from fer_attention.demo.desk import SESSIONS
from fer_attention.demo.render import render
from fer_attention.models.bundled import DEFAULT
from tests.support.demo_parts import as_bytes, small_desk, upload

MODEL = DEFAULT


@pytest.fixture(scope="module")
def photo(astronaut):
    return as_bytes(np.asarray(astronaut), "JPEG")


@pytest.fixture
def desk(tmp_path):
    return small_desk(tmp_path)


def ask(desk, folder, content, *, detector="fixed", maps=False, session="me"):
    return desk.photo(upload(folder, content), MODEL, detector, maps, session)


def words(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_a_photo_is_answered_and_its_file_deleted(desk, tmp_path, photo):
    answer = words(ask(desk, tmp_path, photo))
    assert "1 face 1 happy" in answer
    assert f"model {MODEL}" in answer
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"text", b"", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_not_a_photo_is_deleted_too(desk, tmp_path, content):
    assert 'role="alert"' in ask(desk, tmp_path, content)
    assert list(tmp_path.iterdir()) == []


def test_after_an_unexpected_error_the_file_is_deleted_and_logged(desk, tmp_path, photo, monkeypatch, caplog):
    monkeypatch.setattr("fer_attention.demo.desk.analyse", lambda *_, **__: 1 / 0)
    assert "This did not work" in ask(desk, tmp_path, photo)
    assert list(tmp_path.iterdir()) == []
    assert "ZeroDivisionError" in caplog.text


def test_a_library_that_is_missing_is_named(desk, tmp_path, photo, monkeypatch):
    def missing(*_, **__):
        raise ImportError("Maps: pip install 'fer_attention[explain]'.")

    monkeypatch.setattr("fer_attention.demo.desk.analyse", missing)
    assert "fer_attention[explain]" in ask(desk, tmp_path, photo)


def test_a_file_above_the_limit_is_not_read(tmp_path, monkeypatch):
    desk = small_desk(tmp_path, upload_mb=0.001)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: pytest.fail("read"))
    assert "the limit is 0.001 MB" in ask(desk, tmp_path, b"\0" * 5000)


@pytest.mark.parametrize(
    "path", ["/etc/hostname", "{folder}/../other.png", "{folder}", "http://127.0.0.1/x.png"]
)
def test_no_file_but_an_uploaded_one_is_read_or_deleted(tmp_path, path):
    folder, other = tmp_path / "uploads", tmp_path / "other.png"
    folder.mkdir()
    other.write_bytes(b"mine")
    (folder / "link.png").symlink_to(other)
    desk = small_desk(folder)
    for attempt in (path.format(folder=folder), str(folder / "link.png")):
        with pytest.raises(PermissionError, match="not an uploaded file"):
            desk.photo({"path": attempt}, MODEL, "fixed", False, "me")
    assert other.read_bytes() == b"mine"


def test_the_same_photo_is_answered_again_with_other_choices(desk, tmp_path, photo):
    ask(desk, tmp_path, photo)
    assert "No face found" in desk.again(MODEL, "blind", False, "me")
    assert "regions that supported happy" in desk.again(MODEL, "fixed", True, "me")


def test_a_photo_belongs_to_its_visitor(desk, tmp_path, photo):
    ask(desk, tmp_path, photo)
    assert desk.again(MODEL, "fixed", False, "another") == render("empty")


def test_a_photo_is_dropped_when_its_visitor_leaves_or_uploads_another(desk, tmp_path, photo):
    ask(desk, tmp_path, photo)
    desk.forget("me")
    assert desk.again(MODEL, "fixed", False, "me") == render("empty")
    ask(desk, tmp_path, photo)
    ask(desk, tmp_path, b"text")
    assert desk.again(MODEL, "fixed", False, "me") == render("empty")


def test_memory_holds_the_photos_of_a_bounded_number_of_visitors(tmp_path):
    desk = small_desk(tmp_path)
    content = as_bytes(Image.new("RGB", (60, 60)))
    for visitor in range(SESSIONS + 1):
        ask(desk, tmp_path, content, detector="blind", session=str(visitor))
    assert desk.again(MODEL, "blind", False, "0") == render("empty")
    assert desk.again(MODEL, "blind", False, "1") != render("empty")


def test_an_unknown_choice_gets_a_message(desk, tmp_path, photo):
    assert "no such choice" in ask(desk, tmp_path, photo, detector="fixd")
    ask(desk, tmp_path, photo)
    assert "no such choice" in desk.again(["x"], "fixed", False, "me")


def test_requests_are_answered_one_at_a_time(desk, tmp_path, photo, monkeypatch):
    import fer_attention.demo.desk as module

    inside, most, real = [], [], module.analyse

    def watched(*arguments, **options):
        inside.append(1)
        most.append(len(inside))
        try:
            return real(*arguments, **options)
        finally:
            inside.pop()

    monkeypatch.setattr(module, "analyse", watched)
    ask(desk, tmp_path, photo)
    threads = [threading.Thread(target=desk.again, args=(MODEL, "fixed", False, "me")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5
