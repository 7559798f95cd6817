"""Requests in, HTML out: what is answered, what is kept, what is escaped."""

import io
import re
import threading

import numpy as np
import pytest
from PIL import Image

from fer_attention.demo import Choices, FaceView, PhotoAnalysis, Seconds, usable_detectors
from fer_attention.demo.desk import SESSIONS
from fer_attention.demo.render import TITLE, render
from fer_attention.faces import Face
from fer_attention.models import WeightsError
from fer_attention.models.bundled import DEFAULT
from fer_attention.recognizer import FacePrediction
from fer_attention.registry import UnknownNameError
from tests.support.demo_parts import FACE, as_bytes, small_choices, small_desk, upload

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
def test_a_file_that_is_no_photo_is_deleted_too(desk, tmp_path, content):
    assert 'role="alert"' in ask(desk, tmp_path, content)
    assert list(tmp_path.iterdir()) == []


def test_after_an_unforeseen_error_the_file_is_deleted_and_the_log_says_why(
    desk, tmp_path, photo, monkeypatch, caplog
):
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
    assert "0.001 MB are taken" in ask(desk, tmp_path, b"\0" * 5000)


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
        with pytest.raises(PermissionError, match="no uploaded file"):
            desk.photo({"path": attempt}, MODEL, "fixed", False, "me")
    assert other.read_bytes() == b"mine"


def test_the_same_photo_is_answered_again_with_other_choices(desk, tmp_path, photo):
    ask(desk, tmp_path, photo)
    assert "No face found" in desk.again(MODEL, "blind", False, "me")
    assert "regions that spoke for happy" in desk.again(MODEL, "fixed", True, "me")


def test_a_photo_belongs_to_its_visitor(desk, tmp_path, photo):
    ask(desk, tmp_path, photo)
    assert desk.again(MODEL, "fixed", False, "another") == render("empty")


def test_a_photo_is_forgotten_when_its_visitor_leaves_or_brings_another(desk, tmp_path, photo):
    ask(desk, tmp_path, photo)
    desk.forget("me")
    assert desk.again(MODEL, "fixed", False, "me") == render("empty")
    ask(desk, tmp_path, photo)
    ask(desk, tmp_path, b"text")
    assert desk.again(MODEL, "fixed", False, "me") == render("empty")


def test_photos_of_a_bounded_number_of_visitors_are_in_memory(tmp_path):
    desk = small_desk(tmp_path)
    content = as_bytes(Image.new("RGB", (60, 60)))
    for visitor in range(SESSIONS + 1):
        ask(desk, tmp_path, content, detector="blind", session=str(visitor))
    assert desk.again(MODEL, "blind", False, "0") == render("empty")
    assert desk.again(MODEL, "blind", False, "1") != render("empty")


def test_a_choice_that_is_none_is_answered_in_words(desk, tmp_path, photo):
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


HOSTILE = "<script>alert(1)</script>\"'&"


def an_analysis(label=HOSTILE, found=1, note=""):
    prediction = FacePrediction(Face((0, 0, 9, 9), 1), {label: 0.75, "sad": 0.248, "fear": 0.002})
    view = FaceView(1, prediction, Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4)))
    picture = Image.new("RGB", (20, 10))
    return PhotoAnalysis(picture, (view,) if found else (), found, Seconds(0.0123, 0.0045, 1.5), note)


def test_names_from_files_are_escaped_everywhere():
    for html in (
        render("result", analysis=an_analysis(note=HOSTILE), model=HOSTILE, detector=HOSTILE),
        render("result", analysis=an_analysis(found=0), model=HOSTILE, detector=HOSTILE),
        render("message", title=HOSTILE, advice=HOSTILE),
    ):
        assert "<script" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;" in html


def test_bars_say_their_values_in_words_beside_them():
    text = words(render("result", analysis=an_analysis("happy", found=31), model="m", detector="d"))
    assert "1 of 31 faces shown, the largest" in text
    assert "happy 75 % sad 25 % fear <1 %" in text.replace("&lt;", "<")
    assert "detector d model m finding faces 12 ms naming expressions 4.5 ms maps 1,500 ms" in text


def test_every_picture_is_in_the_page_itself_and_has_words_for_those_who_do_not_see_it():
    html = render("result", analysis=an_analysis("happy"), model="m", detector="d")
    pictures = re.findall(r"<img[^>]*>", html)
    assert len(pictures) == 3
    for picture in pictures:
        assert 'src="data:image/jpeg;base64,' in picture
        assert re.search(r'alt="[^"]{5,}"', picture)
    assert not re.search(r"https?://", html + render("head", title=TITLE) + render("empty"))


def test_the_hint_where_no_face_is_found_names_the_detector_none():
    text = words(render("result", analysis=an_analysis(found=0), model="m", detector="mtcnn"))
    assert "mtcnn sees none" in text
    assert "Try another detector" in text
    assert "choose the detector none" in text


def test_a_recogniser_is_made_once_for_each_model_and_detector():
    choices = small_choices()
    first = choices.recognizer(MODEL, "fixed")
    assert choices.recognizer(MODEL, "fixed") is first
    other = choices.recognizer(MODEL, "blind")
    assert other is not first
    assert other.classifier is first.classifier


def test_given_weights_come_before_the_bundled_ones_and_have_names_of_their_own(tmp_path):
    from fer_attention.models import bundled_names, bundled_path

    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "mine.safetensors")
        paths[-1].write_bytes(bundled_path(MODEL).read_bytes())
    choices = Choices([*paths, paths[0]], small_choices()._detectors, device="cpu")
    others = [name for name in bundled_names() if name != MODEL]
    assert choices.models == ["mine", "mine (2)", MODEL, *others]


def test_weights_that_cannot_be_used_are_an_error_at_once(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"text")
    with pytest.raises(WeightsError):
        Choices([tmp_path / "broken.safetensors"], small_choices()._detectors, device="cpu")


def test_detectors_that_cannot_be_made_are_told_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    detectors, missing = usable_detectors("none", device="cpu")
    assert next(iter(detectors)) == "none"
    assert {"mtcnn", "none"} <= {*detectors}
    assert "weights" in missing["yolo"]
    assert "fer-attention weights download yunet" in missing["yunet"]


def test_the_first_detector_must_be_made():
    with pytest.raises(UnknownNameError, match="mtcnn"):
        usable_detectors("mtcn")
    with pytest.raises(ValueError, match="yolo"):
        usable_detectors("yolo")
    with pytest.raises(TypeError, match="weights"):
        usable_detectors("none", weights="x.onnx")


@pytest.mark.data
def test_a_detector_with_given_weights_comes_first(shared_dir):
    yunet = shared_dir / "models" / "yunet_2026may.onnx"
    detectors, missing = usable_detectors("yunet", weights=yunet, device="cpu")
    assert next(iter(detectors)) == "yunet"
    assert "yunet" not in missing


def test_a_demo_without_a_detector_is_an_error():
    with pytest.raises(ValueError, match="at least one detector"):
        Choices((), {})


def test_the_face_of_the_tests_is_the_astronaut_s(photo):
    from fer_attention.faces import create_detector

    [[face]] = create_detector("mtcnn", device="cpu").detect([Image.open(io.BytesIO(photo))])
    assert face.iou(FACE) > 0.7
