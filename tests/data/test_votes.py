"""Votes joined to the images of FER2013, in each of its layouts."""

import csv

import numpy as np
import pytest

from fer_attention.data import DataError, label_by_votes, load_fer2013, load_ferplus, with_votes
from fer_attention.data.votes import read_votes
from fer_attention.emotions import FERPLUS
from tests.support.datasets import (
    USAGES,
    VOTES_HEADER,
    noise,
    save,
    write_fer2013_csv,
    write_kaggle,
    write_named_votes,
    write_text,
    write_votes,
    zipped,
)

TEN = (10, 0, 0, 0, 0, 0, 0, 0, 0, 0)
NOBODY = [0] * 10


def of(**counts):
    """Ten counts by name."""
    return [counts.get(name, 0) for name in (*FERPLUS, "unknown", "nf")]


@pytest.fixture
def twins(tmp_path):
    """Two pictures of one file name under two labels, and a third; none of them in the table's order."""
    for number, place in enumerate(["angry/Training_7", "happy/Training_7", "sad/PrivateTest_3"]):
        folder = "train" if "Training" in place else "test"
        save(tmp_path / "kaggle" / folder / f"{place}.png", noise(number))
    return tmp_path / "kaggle"


ROWS = (
    ("sadness", "PrivateTest_3.png", of(sad=10)),
    ("Happy", "Training_7.png", of(happy=9, neutral=1)),
    ("anger", "Training_7.png", of(angry=6, fear=4)),
)


@pytest.mark.parametrize("wrap", [lambda root: root, zipped], ids=["folder", "zip"])
def test_files_are_joined_by_name_and_label_in_any_spelling(tmp_path, twins, wrap):
    crops = load_fer2013(wrap(twins))
    faces = with_votes(crops, write_named_votes(tmp_path / "votes.csv", *ROWS))
    votes = dict(zip(faces.names.tolist(), faces.votes.tolist(), strict=True))
    assert votes == {
        "train/angry/Training_7.png": of(angry=6, fear=4),
        "train/happy/Training_7.png": of(happy=9, neutral=1),
        "test/sad/PrivateTest_3.png": of(sad=10),
    }
    assert faces.votes.dtype == np.int64
    np.testing.assert_array_equal(faces.images, crops.images)
    np.testing.assert_array_equal(faces.labels, crops.labels)
    assert faces.skipped == ()
    assert crops.votes is None


def test_folders_in_another_spelling_are_joined(tmp_path):
    save(tmp_path / "kaggle/train/Anger/Training_1.png", noise(0))
    table = write_named_votes(tmp_path / "votes.csv", ("angry", "Training_1.png", of(angry=10)))
    assert with_votes(load_fer2013(tmp_path / "kaggle"), table).votes.tolist() == [of(angry=10)]


def test_ferplus_row_counts_from_0_and_joins_the_table_of_pixels(tmp_path):
    fer2013 = write_fer2013_csv(tmp_path / "fer2013.csv")
    rows = [
        ("sad", "PrivateTest_9.jpg", of(sad=10)),
        ("happy", "Training_5.jpg", of(happy=10)),
        ("happy", "Training_6.jpg", of(neutral=10)),
    ]
    table = write_named_votes(tmp_path / "votes.csv", *rows, ferplus_rows=[3, 1, 0])
    assert with_votes(load_fer2013(fer2013), table).votes.tolist() == [
        of(neutral=10),
        of(happy=10),
        NOBODY,
        of(sad=10),
    ]
    faces = load_ferplus(fer2013, votes=table)
    assert faces.names.tolist() == ["row0000001", "row0000002", "row0000004"]
    assert faces.skipped == (("row0000003", "no votes"),)
    without = write_named_votes(tmp_path / "files.csv", *rows)
    with pytest.raises(DataError, match=r"files\.csv names files; .* needs a column ferplus_row"):
        load_ferplus(fer2013, votes=without)


def test_the_original_votes_are_refused_for_image_folders(tmp_path):
    table = write_votes(tmp_path / "fer2013new.csv", [TEN] * 4, usages=USAGES)
    crops = load_fer2013(write_kaggle(tmp_path / "kaggle"))
    for join in (lambda: with_votes(crops, table), lambda: load_ferplus(tmp_path / "kaggle", votes=table)):
        with pytest.raises(DataError, match="order is lost. Use fer2013.csv, or a table .* label and file"):
            join()


def test_a_table_of_other_files_is_refused(tmp_path, twins):
    table = write_named_votes(tmp_path / "votes.csv", ("sad", "Training_7.png", TEN), ("angry", "1.png", TEN))
    with pytest.raises(DataError, match=r"votes\.csv has votes on none of these 3 images, such as test/sad/"):
        with_votes(load_fer2013(twins), table)


@pytest.mark.parametrize("usage", ["PublicTest", "fold", ""])
def test_another_split_of_one_row_is_refused(tmp_path, twins, usage):
    table = write_named_votes(tmp_path / "votes.csv", *ROWS)
    write_text(table, table.read_text(encoding="utf-8").replace("Training,anger", f"{usage},anger").rstrip())
    with pytest.raises(DataError, match=f"angry/Training_7.png is of the split 'train' .* and '{usage}' in"):
        with_votes(load_fer2013(twins), table, on_error="skip")


def test_images_without_votes_get_zeros_and_votes_follow_images(tmp_path, twins):
    faces = with_votes(load_fer2013(twins), write_named_votes(tmp_path / "votes.csv", *ROWS[:2]))
    assert faces.names.tolist() == [
        "test/sad/PrivateTest_3.png",
        "train/angry/Training_7.png",
        "train/happy/Training_7.png",
    ]
    assert faces.votes.tolist() == [of(sad=10), NOBODY, of(happy=9, neutral=1)]
    assert faces.take([2, 0]).votes.tolist() == [of(happy=9, neutral=1), of(sad=10)]
    assert faces.split("private").votes.tolist() == [of(sad=10)]
    assert faces.take([]).votes.shape == (0, 10)
    assert label_by_votes(faces).skipped == (("train/angry/Training_7.png", "no votes"),)


def test_a_subset_of_images_is_joined_and_no_match_is_refused(tmp_path):
    fer2013 = load_fer2013(write_fer2013_csv(tmp_path / "fer2013.csv"))
    votes = [of(happy=10 - i, sad=i) for i in range(4)]
    table = write_votes(tmp_path / "fer2013new.csv", votes, usages=USAGES)
    assert with_votes(fer2013.take([3, 1]), table).votes.tolist() == [votes[3], votes[1]]
    assert with_votes(fer2013.take([]), table).votes.shape == (0, 10)


@pytest.mark.parametrize(
    ("broken", "name", "reason"),
    [
        (lambda line: line.replace(",6,", ",six,"), "train/angry/Training_7.png", "not all whole numbers"),
        (lambda line: line.rsplit(",", 1)[0], "row 3", "13 cells instead of 14"),
        (lambda line: line.replace("png,2", "png,-2"), "row 3", "ferplus_row '-2' is not a whole number"),
        (lambda line: line.replace("png,2", "png,²"), "row 3", "ferplus_row '²' is not a whole number"),
    ],
    ids=["votes", "cells", "negative row", "raised row"],
)
def test_damaged_rows_of_a_table_of_files_are_an_error_or_a_listed_skip(
    tmp_path, twins, broken, name, reason
):
    table = write_named_votes(tmp_path / "votes.csv", *ROWS, ferplus_rows=[0, 1, 2])
    lines = table.read_text(encoding="utf-8").splitlines()
    write_text(table, *lines[:3], broken(lines[3]))
    crops = load_fer2013(twins)
    with pytest.raises(DataError, match=f"row 3: .*{reason}.*Pass on_error='skip'"):
        with_votes(crops, table)
    faces = with_votes(crops, table, on_error="skip")
    assert [skipped for skipped, _ in faces.skipped] == [name]
    assert reason in faces.skipped[0][1]
    votes = dict(zip(faces.names.tolist(), faces.votes.tolist(), strict=True))
    assert votes.get("train/angry/Training_7.png", NOBODY) == NOBODY
    assert votes["train/happy/Training_7.png"] == of(happy=9, neutral=1)


def test_a_damaged_row_is_not_reported_as_another_split(tmp_path):
    """The first cell of a row cut short is not taken for a split if Usage is another column."""
    columns = "Image name," + VOTES_HEADER.replace("Image name,", "")
    rows = [f"fer{i}.png,{usage},{','.join(map(str, TEN))}" for i, usage in enumerate(USAGES)]
    table = write_text(tmp_path / "fer2013new.csv", columns, rows[0].rsplit(",", 1)[0], *rows[1:])
    faces = with_votes(load_fer2013(write_fer2013_csv(tmp_path / "fer2013.csv")), table, on_error="skip")
    assert faces.skipped == (("row0000001", "11 cells instead of 12."),)
    assert len(faces) == 3


def test_tables_that_cannot_be_joined_explain_why(tmp_path, twins):
    crops = load_fer2013(twins)
    header = VOTES_HEADER.split(",", 2)[2]
    counts = ",".join(map(str, TEN))
    for text, message in {
        f"usage,label,file,{header}\n": r"has no row of votes\.",
        f"usage,label,file,{header}\nTraining,angry\n": r"no row of votes; the first is damaged: \('row 1'",
        f"usage,file,{header}\nTraining,a.png,{counts}\n": "names no images: .* and 'file', but usage",
        "usage,label,file,happiness\n": "has no column neutral, surprise",
        f"usage,label,file,{header}\n" + f"Training,angry,a.png,{counts}\n" * 2: "row 2: .*'a.png'.* twice",
        f"usage,label,file,{header}\nTraining,anger,a.png,{counts}\nTraining,Angry,a.png,{counts}\n": "twice",
    }.items():
        table = tmp_path / "votes.csv"
        table.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            with_votes(crops, table, on_error="skip")
    with pytest.raises(DataError, match=r"votes\.cvs does not exist. Did you mean 'votes\.csv'"):
        with_votes(crops, tmp_path / "votes.cvs")
    with pytest.raises(DataError, match="has no table of votes: .* Pass the table's own path as votes"):
        with_votes(crops, twins)
    with pytest.raises(ValueError, match="Unknown on_error 'ignore'. Known: raise, skip"):
        with_votes(crops, table, on_error="ignore")


@pytest.mark.parametrize("wrap", [lambda root: root, zipped], ids=["folder", "zip"])
def test_the_table_is_found_in_a_folder_or_zip(tmp_path, wrap):
    write_named_votes(tmp_path / "set" / "mine.csv", ("sad", "PrivateTest_3.png", of(sad=10)))
    assert read_votes(wrap(tmp_path / "set")).names_files
    write_votes(tmp_path / "set" / "FERPlus" / "fer2013new.csv", [TEN])
    assert not read_votes(wrap(tmp_path / "set")).names_files


@pytest.mark.data
def test_real_votes_leave_the_published_numbers_of_images(shared_dir, real_fer2013):
    table = shared_dir / "data" / "ferplus_votes.csv"
    faces = with_votes(real_fer2013, table)
    assert len(faces) == 35_887
    with table.open(encoding="utf-8", newline="") as file:
        expected = {(row[1], row[2]): list(map(int, row[4:])) for row in list(csv.reader(file))[1:]}
    assert len(expected) == 35_712
    for name, counts in zip(faces.names.tolist(), faces.votes.tolist(), strict=True):
        assert counts == expected.get(tuple(name.split("/")[1:]), NOBODY)
    assert (faces.votes.sum(1) == 0).sum() == 175
    for target, sizes in (("majority", [25_059, 3_199, 3_153]), ("distribution", [27_955, 3_505, 3_505])):
        voted = label_by_votes(faces, target=target)
        assert [len(voted.split(name)) for name in ("train", "public", "private")] == sizes
        assert len(voted) + len(voted.skipped) == 35_887
        assert sum(reason == "no votes" for _, reason in voted.skipped) == 175
