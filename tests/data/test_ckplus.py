"""CK+ in its three layouts."""

import numpy as np
import pytest
from PIL import Image

from fer_attention.data import DataError, load_ckplus
from fer_attention.emotions import CKPLUS
from fer_attention.faces import ImageError
from tests.support.datasets import cell, noise, save, write_ck48, write_original_ck, write_text, zipped


def emotions(faces):
    return [faces.label_names[label] for label in faces.labels]


@pytest.mark.parametrize("wrap", [lambda root: root, lambda root: root / "CK+48", zipped])
def test_ck48_names_emotion_subject_and_sequence(tmp_path, wrap):
    faces = load_ckplus(wrap(write_ck48(tmp_path / "ck")))
    assert faces.label_names == CKPLUS
    assert emotions(faces) == ["angry"] * 3 + ["contempt"] * 3 + ["happy"] * 3
    assert faces.subjects.tolist() == ["S010"] * 3 + ["S138"] * 3 + ["S010"] * 3
    assert faces.sequences.tolist() == ["S010_004"] * 3 + ["S138_008"] * 3 + ["S010_006"] * 3
    assert set(faces.splits) == {"all"}
    np.testing.assert_array_equal(faces.images[1], noise(13))


def test_the_csv_copy_has_splits_and_neutral_faces_but_no_subjects(tmp_path):
    usages = ["Training"] * 6 + ["PublicTest", "PrivateTest"]
    lines = [f"{code},{cell(noise(code))},{usage}" for code, usage in enumerate(usages)]
    path = write_text(tmp_path / "ckextended.csv", "emotion,pixels,Usage", *lines)
    faces = load_ckplus(path)
    assert faces.label_names == (*CKPLUS, "neutral")
    assert emotions(faces) == [
        "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt",
    ]  # fmt: skip
    assert faces.splits.tolist()[-3:] == ["train", "public", "private"]
    assert faces.subjects is None
    assert faces.sequences is None
    np.testing.assert_array_equal(faces.images, [noise(code) for code in range(8)])

    without = load_ckplus(path, neutral=False)
    assert (without.label_names, len(without)) == (CKPLUS, 7)
    assert without.skipped == (("row 7", "neutral"),)


def test_original_sequences_yield_peak_frames_and_a_neutral_one(tmp_path):
    faces = load_ckplus(write_original_ck(tmp_path))
    assert faces.label_names == (*CKPLUS, "neutral")
    assert emotions(faces) == ["neutral", *["surprise"] * 3, "neutral", *["contempt"] * 3]
    assert faces.images[:, 0, 0].tolist() == [1, 3, 4, 5, 41, 43, 44, 45]  # each frame has its own grey
    assert faces.sequences.tolist() == ["S005_001"] * 4 + ["S010_002"] * 4
    assert faces.subjects.tolist() == ["S005"] * 4 + ["S010"] * 4
    assert faces.skipped == (("S010_003", "no emotion label"),)


def test_original_sequences_omit_neutral_frames_on_request(tmp_path):
    faces = load_ckplus(zipped(write_original_ck(tmp_path / "ck")), neutral=False)
    assert faces.label_names == CKPLUS
    assert emotions(faces) == ["surprise"] * 3 + ["contempt"] * 3
    assert sorted(reason for _, reason in faces.skipped) == ["neutral", "neutral", "no emotion label"]


ORIGINAL = "Emotion/S005/001/S005_001_00000005_emotion.txt"
DAMAGE = {
    "'9.0' is not an emotion code": lambda root: write_text(root / ORIGINAL, "9.0"),
    "'2.5' is not an emotion code": lambda root: write_text(root / ORIGINAL, "2.5"),
    "'happy' is not an emotion code": lambda root: write_text(root / ORIGINAL, "happy"),
    "no frames of this sequence": lambda root: write_text(
        root / "Emotion/S099/001/S099_001_00000009_emotion.txt", "1.0"
    ),
    "too few for a neutral one": lambda root: [
        (root / f"cohn-kanade-images/S005/001/S005_001_{frame:08}.png").unlink() for frame in (2, 3)
    ],
    "not a complete image": lambda root: (
        root / "cohn-kanade-images/S005/001/S005_001_00000004.png"
    ).write_bytes(b"no"),
    "not of the form": lambda root: save(root / "cohn-kanade-images/S005/001/photo.png", noise(0)),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_damaged_original_files_are_an_error_or_a_listed_skip(tmp_path, reason):
    DAMAGE[reason](write_original_ck(tmp_path))
    with pytest.raises(DataError, match=f"{reason}.*on_error='skip'") as error:
        load_ckplus(tmp_path)
    assert str(error.value).count("Pass on_error") == 1
    faces = load_ckplus(tmp_path, on_error="skip")
    assert "S010_002" in faces.sequences
    assert any(reason in why for _, why in faces.skipped)


def test_a_crop_is_taken_from_the_upright_photo_before_resizing(tmp_path):
    pixels = np.zeros((480, 640), np.uint8)
    pixels[100:200, 300:400] = noise(0, (100, 100))
    save(tmp_path / "CK+48/fear/S005_001_00000011.png", pixels)
    faces = load_ckplus(tmp_path, size=(30, 20), crop=lambda photo: photo.crop((300, 100, 400, 200)))
    expected = Image.fromarray(noise(0, (100, 100))).resize((20, 30), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(faces.images, [np.asarray(expected)])


def test_a_photo_without_a_face_is_an_error_or_a_listed_skip(tmp_path):
    write_ck48(tmp_path)

    def crop(photo):
        if np.array_equal(np.asarray(photo)[..., 0], noise(13)):
            raise ImageError("no face here")
        return photo

    with pytest.raises(DataError, match=r"S010_004_00000013\.png: no face here"):
        load_ckplus(tmp_path, crop=crop)
    faces = load_ckplus(tmp_path, crop=crop, on_error="skip")
    assert len(faces) == 8
    assert faces.skipped == (("CK+48/anger/S010_004_00000013.png", "no face here"),)


def test_neutral_faces_that_were_added_to_ck48_come_along_or_are_listed(tmp_path):
    write_ck48(tmp_path)
    save(tmp_path / "CK+48/Neutral/S010_004_00000001.png", noise(0))
    faces = load_ckplus(tmp_path)
    assert faces.label_names == (*CKPLUS, "neutral")
    assert emotions(faces).count("neutral") == 1
    without = load_ckplus(tmp_path, neutral=False)
    assert (without.label_names, len(without)) == (CKPLUS, 9)
    assert without.skipped == (("CK+48/Neutral/S010_004_00000001.png", "neutral"),)


def test_foreign_folders_and_file_names_of_ck48_are_named(tmp_path):
    write_ck48(tmp_path)
    save(tmp_path / "CK+48/bored/S010_004_00000001.png", noise(0))
    with pytest.raises(DataError, match="'bored' is not one of angry, contempt"):
        load_ckplus(tmp_path)
    save(tmp_path / "CK+48/fear/photo.png", noise(0))
    faces = load_ckplus(tmp_path, on_error="skip")
    assert (len(faces), len(faces.skipped)) == (9, 2)


def test_an_empty_folder_and_a_missing_path_explain_the_layout(tmp_path):
    with pytest.raises(DataError, match=r"No CK\+ frame under .*CK\+48 or of the original release"):
        load_ckplus(tmp_path)
    with pytest.raises(DataError, match="does not exist.*CK"):
        load_ckplus(tmp_path / "ck")
    with pytest.raises(ValueError, match="size is"):
        load_ckplus(tmp_path, size=(0, 48))
