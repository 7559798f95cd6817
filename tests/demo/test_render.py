"""HTML of the page: escaping, numbers, embedded pictures."""

import re

from PIL import Image

from fer_attention.demo import FaceView, PhotoAnalysis, Seconds
from fer_attention.demo.render import TITLE, render
from fer_attention.faces import Face
from fer_attention.recognizer import FacePrediction


def words(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


HOSTILE = "<script>alert(1)</script>\"'&"


def an_analysis(label=HOSTILE, found=1, note=""):
    prediction = FacePrediction(Face((0, 0, 9, 9), 1), {label: 0.75, "sad": 0.248, "fear": 0.002})
    view = FaceView(1, prediction, Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4)))
    picture = Image.new("RGB", (20, 10))
    views, all_faces = (view,) if found else (), (prediction,) * found
    return PhotoAnalysis(picture, views, all_faces, Seconds(0.0123, 0.0045, 1.5), "48×48 pixels, grey", note)


def a_result(**values):
    return render("result", files={"json": b"[]", "csv": b"image\n"}, **values)


def test_names_from_files_are_escaped_everywhere():
    for html in (
        a_result(analysis=an_analysis(note=HOSTILE), model=HOSTILE, detector=HOSTILE),
        a_result(analysis=an_analysis(found=0), model=HOSTILE, detector=HOSTILE),
        render("message", title=HOSTILE, advice=HOSTILE),
    ):
        assert "<script" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;" in html


def test_bars_have_their_values_as_text():
    text = words(a_result(analysis=an_analysis("happy", found=31), model="m", detector="d"))
    assert "1 of 31 faces shown, the largest" in text
    assert "happy 75 % sad 25 % fear <1 %" in text.replace("&lt;", "<")
    assert "detector d model m finding faces 12 ms naming expressions 4.5 ms maps 1,500 ms" in text


def test_every_picture_is_embedded_and_has_an_alternative_text():
    html = a_result(analysis=an_analysis("happy"), model="m", detector="d")
    pictures = re.findall(r"<img[^>]*>", html)
    assert len(pictures) == 3
    for picture in pictures:
        assert 'src="data:image/jpeg;base64,' in picture
        assert re.search(r'alt="[^"]{5,}"', picture)
    assert not re.search(r"https?://", html + render("head", title=TITLE) + render("empty"))


def test_a_photo_without_faces_suggests_the_detector_none():
    text = words(a_result(analysis=an_analysis(found=0), model="m", detector="mtcnn"))
    assert "mtcnn found none" in text
    assert "Try another detector" in text
    assert "choose the detector none" in text


def test_the_picture_and_the_records_can_be_downloaded():
    html = a_result(analysis=an_analysis("happy"), model="m", detector="d")
    links = dict(re.findall(r'<a download="(.*?)" href="data:(.*?);base64,', html))
    assert links == {"faces.jpg": "image/jpeg", "faces.json": "application/json", "faces.csv": "text/csv"}
