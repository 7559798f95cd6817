"""FER2013 as a table of pixels."""

import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.data import DataError, load_fer2013
from fer_attention.data.fer2013_csv import row_image
from fer_attention.data.tables import Row
from tests.support.datasets import USAGES, cell, noise, save, write_fer2013_csv, write_text, zipped

SPLITS = ["train", "train", "public", "private"]


def test_a_row_is_a_face_with_its_emotion_split_and_number(tmp_path):
    faces = load_fer2013(write_fer2013_csv(tmp_path / "fer2013.csv", emotions=[6, 0, 3, 1]))
    np.testing.assert_array_equal(faces.images, [noise(i) for i in range(4)])
    assert faces.labels.tolist() == [6, 0, 3, 1]
    assert faces.splits.tolist() == SPLITS
    assert faces.names.tolist() == ["row0000001", "row0000002", "row0000003", "row0000004"]


def test_columns_may_be_reordered_and_padded_as_in_icml_face_data(tmp_path):
    rows = (f"{i},{usage},{cell(noise(i))}" for i, usage in enumerate(USAGES))
    faces = load_fer2013(write_text(tmp_path / "icml_face_data.csv", "emotion, Usage, pixels", *rows))
    np.testing.assert_array_equal(faces.images, [noise(i) for i in range(4)])
    assert faces.splits.tolist() == SPLITS


def test_a_table_without_usage_is_all_training(tmp_path):
    path = write_text(
        tmp_path / "train.csv", "emotion,pixels", f'0,"{cell(noise(0))}"', f'4,"{cell(noise(1))}"'
    )
    faces = load_fer2013(path)
    assert faces.splits.tolist() == ["train", "train"]
    assert faces.labels.tolist() == [0, 4]


def test_a_table_without_emotions_has_no_labels(tmp_path):
    path = write_text(tmp_path / "test.csv", "pixels", cell(noise(0)))
    with pytest.raises(DataError, match=r"no column emotion.*test\.csv, has no labels"):
        load_fer2013(path)


@pytest.mark.parametrize("wrap", [lambda root: root, zipped], ids=["folder", "zip"])
def test_the_fullest_table_of_a_folder_or_zip_is_read(tmp_path, wrap):
    root = tmp_path / "kaggle"
    write_fer2013_csv(root / "sub/icml_face_data.csv")
    write_text(root / "train.csv", "emotion,pixels", f"0,{cell(noise(9))}")
    assert len(load_fer2013(wrap(root))) == 4
    write_fer2013_csv(root / "fer2013.csv", usages=["Training"] * 7)
    assert len(load_fer2013(wrap(root))) == 7


def test_a_single_renamed_table_is_read_and_two_equal_names_are_refused(tmp_path):
    write_fer2013_csv(tmp_path / "mine.csv")
    assert len(load_fer2013(tmp_path)) == 4
    write_fer2013_csv(tmp_path / "a/fer2013.csv")
    write_fer2013_csv(tmp_path / "b/fer2013.csv")
    with pytest.raises(DataError, match=r"a/fer2013\.csv and b/fer2013\.csv"):
        load_fer2013(tmp_path)


def test_a_picture_beside_the_table_does_not_hide_it(tmp_path):
    write_fer2013_csv(tmp_path / "fer2013.csv")
    save(tmp_path / "figure.png", noise(0))
    assert len(load_fer2013(tmp_path)) == 4


PIXELS = cell(noise(0))
DAMAGE = {
    "2303 pixels instead of 2304": f"0,{PIXELS.rsplit(' ', 1)[0]},Training",
    "2305 pixels instead of 2304": f"0,{PIXELS} 7,Training",
    "0 pixels instead of 2304": "0,,Training",
    "the pixel '1.5' is not a whole number": f"0,1.5 {PIXELS},Training",
    "the pixel '-1' is not a whole number": f"0,-1 {PIXELS.split(' ', 1)[1]},Training",
    "the pixel 256 is above 255": f"0,256 {PIXELS.split(' ', 1)[1]},Training",
    "is above 255": f"0,99999999999999999999 {PIXELS.split(' ', 1)[1]},Training",
    r"the label '7' is not one of 0 \(angry\)": f"7,{PIXELS},Training",
    "the label '' is not": f",{PIXELS},Training",
    "the usage 'Fold1' is not one of Training": f"0,{PIXELS},Fold1",
    "2 cells instead of 3": f"0,{PIXELS}",
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_a_damaged_row_is_an_error_or_a_listed_skip(tmp_path, reason):
    good = f"0,{PIXELS},Training"
    path = write_text(tmp_path / "fer2013.csv", "emotion,pixels,Usage", *[good] * 16, DAMAGE[reason], good)
    with pytest.raises(DataError, match=rf"fer2013\.csv: row 17: .*{reason}.*on_error='skip'"):
        load_fer2013(path)
    faces = load_fer2013(path, on_error="skip")
    assert len(faces) == 17
    [(name, why)] = faces.skipped
    assert name == "row 17"
    assert re.search(reason, why)
    assert faces.names[-1] == "row0000018"


def test_a_table_of_only_damaged_rows_is_always_an_error(tmp_path):
    path = write_text(tmp_path / "fer2013.csv", "emotion,pixels,Usage", "0,1 2 3,Training")
    with pytest.raises(DataError, match=r"No FER2013 row in fer2013\.csv.*1 rows were skipped.*3 pixels"):
        load_fer2013(path, on_error="skip")


def test_a_truncated_zip_is_always_an_error(tmp_path):
    path = write_fer2013_csv(tmp_path / "set/fer2013.csv", usages=["Training"] * 30)
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(path, "fer2013.csv")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"fer2013\.csv cannot be read beyond row \d+"):
        load_fer2013(archive, on_error="skip")


def test_byte_order_mark_empty_lines_and_blanks_are_ignored(tmp_path):
    text = f"\ufeffemotion,pixels,Usage\r\n\r\n 3 , {PIXELS.replace(' ', chr(9))}  , Training \r\n\r\n"
    (tmp_path / "fer2013.csv").write_text(text, encoding="utf-8", newline="")
    faces = load_fer2013(tmp_path / "fer2013.csv")
    assert faces.labels.tolist() == [3]
    np.testing.assert_array_equal(faces.images[0], noise(0))


@given(st.integers(0, 2**32 - 1), st.sampled_from([" ", "  ", "\t", " \n"]))
def test_pixels_survive_a_round_trip(seed, blank):
    pixels = noise(seed)
    row = Row(1, [blank.join(cell(pixels).split(" "))], {"pixels": 0}, 1)
    np.testing.assert_array_equal(row_image(row), pixels)
