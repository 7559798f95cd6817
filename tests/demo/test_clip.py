"""Clips: marked, followed, bounded, and refused with a message."""

import io

import numpy as np
import pytest
from PIL import Image

from fer_attention.demo import Limits, PhotoError, analyse_clip
from tests.support.demo_parts import FACE, small_choices
from tests.support.videos import make_clip


@pytest.fixture(scope="module")
def recognizer():
    return small_choices().recognizer(small_choices().models[0], "fixed")


@pytest.fixture(scope="module")
def content(tmp_path_factory, astronaut):
    """Twelve frames of the astronaut in 1.2 seconds."""
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", [astronaut] * 12).read_bytes()


def frames(content):
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(content)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_faces_of_a_clip_are_marked_and_followed(recognizer, content):
    analysis = analyse_clip(recognizer, content)
    assert [person.mean.answer for person in analysis.people.values()] == ["happy"]
    assert [record["image"] for record in analysis.records] == [f"{n / 5:.2f} s" for n in range(6)]
    assert analysis.records[0]["faces"][0]["emotion"] == "happy"
    assert (analysis.note, analysis.seconds) == ("", pytest.approx(1.1))
    marked, plain = frames(analysis.video), frames(content)
    assert len(marked) == len(plain)
    x, y = round(FACE.box[0]), round(sum(FACE.box[1::2]) / 2)
    edge = marked[5][y, x - 2 : x + 3].astype(int) - plain[5][y, x - 2 : x + 3]
    assert np.abs(edge).max() > 60  # the box


def test_frames_of_large_clips_are_made_smaller(recognizer, tmp_path):
    grey = np.full((360, 1280, 3), 90, np.uint8)
    clip = make_clip(tmp_path / "wide.mp4", [grey] * 3)
    analysis = analyse_clip(recognizer, clip.read_bytes())
    assert analysis.size == (640, 180)
    assert frames(analysis.video)[0].shape == (180, 640, 3)


def test_the_rest_of_a_long_clip_is_left_out(recognizer, content):
    analysis = analyse_clip(recognizer, content, limits=Limits(clip_seconds=0.5))
    assert analysis.note == "The clip is longer than 0.5 seconds. The rest was left out."
    assert len(frames(analysis.video)) == 5


def test_a_damaged_clip_is_answered_up_to_the_damage(recognizer, tmp_path, astronaut):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 255, astronaut.shape, np.uint8) for _ in range(30)]
    content = make_clip(tmp_path / "clip.mkv", noisy).read_bytes()
    analysis = analyse_clip(recognizer, content[: len(content) // 2])
    assert 0 < len(analysis.records) < 15
    assert analysis.note == "The clip is damaged: this was found before the damage."


@pytest.mark.parametrize(
    "content",
    [
        b"text" * 100,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
    ],
)
def test_other_files_and_playlists_are_refused(recognizer, content):
    with pytest.raises(PhotoError, match="not a clip that can be read"):
        analyse_clip(recognizer, content)


def test_pictures_are_not_clips(recognizer):
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "PNG")
    with pytest.raises(PhotoError, match="not a clip that can be read"):
        analyse_clip(recognizer, file.getvalue())


def test_empty_clips_and_large_frames_are_refused(recognizer, content):
    with pytest.raises(PhotoError, match="empty"):
        analyse_clip(recognizer, b"")
    with pytest.raises(PhotoError, match=r"0\.3 megapixels; the limit is 0\.1"):
        analyse_clip(recognizer, content, limits=Limits(megapixels=0.1))


def test_no_file_of_a_clip_is_left(recognizer, content, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    analyse_clip(recognizer, content)
    with pytest.raises(PhotoError):
        analyse_clip(recognizer, b"text")
    assert list(tmp_path.iterdir()) == []
