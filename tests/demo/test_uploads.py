"""Photos between upload and answer."""

import pytest

from fer_attention.demo import Limits, PhotoError
from fer_attention.demo import uploads as module
from fer_attention.demo.uploads import Uploads
from tests.support.demo_parts import upload


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path, Limits(upload_mb=0.001))


def arrive(uploads, content, name="photo.png"):
    path = upload(uploads.folder, content, name)["path"]
    uploads.receive(path)
    return path


def test_equal_photos_are_answered_as_often_as_they_were_uploaded(uploads, tmp_path):
    [path] = {arrive(uploads, b"photo") for _ in range(3)}
    assert list(tmp_path.iterdir()) == []
    assert [uploads.take(path) for _ in range(3)] == [b"photo"] * 3
    with pytest.raises(PhotoError, match="no longer here"):
        uploads.take(path)


def test_an_upload_whose_file_an_equal_one_has_moved_is_counted(uploads):
    path = arrive(uploads, b"photo")
    uploads.receive(path)
    assert [uploads.take(path) for _ in range(2)] == [b"photo"] * 2


def test_a_file_above_the_limit_is_deleted_and_its_size_reported(uploads, tmp_path):
    path = arrive(uploads, b"0" * 2000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PhotoError, match=r"limit is 0\.001 MB"):
        uploads.take(path)


def test_memory_is_bounded_and_the_oldest_photo_has_to_come_again(uploads, monkeypatch):
    monkeypatch.setattr(module, "_BYTES", 20)
    first, second, third = (arrive(uploads, bytes([n]) * 10, f"{n}.png") for n in range(3))
    with pytest.raises(PhotoError, match="Upload it again"):
        uploads.take(first)
    assert uploads.take(second) + uploads.take(third) == b"\x01" * 10 + b"\x02" * 10


def test_only_pictures_have_a_preview(uploads):
    assert uploads.preview(arrive(uploads, b"photo")) == (b"photo", "image/png")
    assert uploads.preview(arrive(uploads, b"<svg/>", "drawing.svg")) is None
    assert uploads.preview("/etc/hostname") is None
