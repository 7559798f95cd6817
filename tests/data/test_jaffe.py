"""JAFFE by its file names."""

import numpy as np
import pytest
from PIL import Image

from fer_attention.data import DataError, load_jaffe
from fer_attention.emotions import JAFFE
from tests.support.datasets import noise, save, write_jaffe, zipped


@pytest.mark.parametrize("suffix", [".tiff", ".TIFF", ".png", ".bmp"])
@pytest.mark.parametrize("wrap", [lambda root: root, zipped], ids=["folder", "zip"])
def test_file_names_tell_emotion_and_subject(tmp_path, wrap, suffix):
    faces = load_jaffe(wrap(write_jaffe(tmp_path / "jaffe", suffix=suffix)))
    assert faces.label_names == JAFFE
    assert faces.labels.tolist() == list(range(7)) * 2  # the codes in alphabetical order are JAFFE's order
    assert faces.subjects.tolist() == ["KA"] * 7 + ["YM"] * 7
    assert faces.sequences is None
    assert set(faces.splits) == {"all"}
    assert faces.names[0] == f"KA.AN1.0{suffix}"


def test_photos_are_resized_as_pillow_does(tmp_path):
    faces = load_jaffe(write_jaffe(tmp_path), size=(64, 80))
    expected = Image.fromarray(noise(3, (256, 256))).resize((80, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(faces.images[3], np.asarray(expected))


def test_photos_keep_their_pixels_at_their_own_size(tmp_path):
    faces = load_jaffe(write_jaffe(tmp_path), size=(256, 256))
    np.testing.assert_array_equal(faces.images[3], noise(3, (256, 256)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("KA.XX1.99.tiff", "not of the form"),
        ("photo.jpg", "not of the form"),
        ("KA.AN1.0.png", r"the same photo as KA\.AN1\.0\.png"),
    ],
)
def test_foreign_names_and_second_copies_are_an_error_or_a_listed_skip(tmp_path, name, reason):
    save(write_jaffe(tmp_path) / name, noise(0, (256, 256)))
    with pytest.raises(DataError, match=f"{reason}.*on_error='skip'"):
        load_jaffe(tmp_path)
    faces = load_jaffe(tmp_path, on_error="skip")
    assert (len(faces), len(faces.skipped)) == (14, 1)


def test_a_readme_is_ignored(tmp_path):
    (write_jaffe(tmp_path) / "README.txt").write_text("JAFFE")
    (tmp_path / "._KA.AN1.0.tiff").write_bytes(b"written by macOS")
    assert len(load_jaffe(tmp_path).skipped) == 0


def test_an_empty_folder_explains_what_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"No JAFFE photo under .*KA\.AN1\.39\.tiff"):
        load_jaffe(tmp_path)
