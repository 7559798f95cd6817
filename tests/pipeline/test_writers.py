"""Files of answers."""

import csv
import json
import math

import pytest

from fer_attention.faces import Face
from fer_attention.pipeline.results import PhotoPrediction, source_name, to_frame
from fer_attention.pipeline.writers import FORMATS, check_targets, open_writers
from fer_attention.recognizer import FacePrediction

LABELS = ("happy", "sad")


def face(left, happy):
    return FacePrediction(Face((left, 10, left + 40, 60), 0.9), {"happy": happy, "sad": 1 - happy})


PREDICTIONS = [
    PhotoPrediction("a.jpg", (200, 100), (face(10, 0.75), face(100, 0.25))),
    PhotoPrediction("wall.png", (64, 48)),
    PhotoPrediction("[b]old.jpg", None, error="Cannot read '[b]old.jpg': it is empty."),
]
RECORDS = [prediction.to_dict() for prediction in PREDICTIONS]


def write(path, kind, records=RECORDS):
    with open_writers({kind: str(path)}, LABELS) as add:
        for record in records:
            add(record)


def test_json_is_one_list_of_records(tmp_path):
    write(tmp_path / "all.json", "json")
    assert json.loads((tmp_path / "all.json").read_text()) == RECORDS
    write(tmp_path / "none.json", "json", [])
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_json_lines_has_a_record_a_line(tmp_path):
    write(tmp_path / "all.jsonl", "jsonl")
    assert list(map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())) == RECORDS


def test_csv_has_a_row_for_each_face_and_for_each_photo_without_any(tmp_path):
    write(tmp_path / "all.csv", "csv")
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["face"], row["emotion"]) for row in rows] == [
        ("a.jpg", "1", "happy"),
        ("a.jpg", "2", "sad"),
        ("wall.png", "", ""),
        ("[b]old.jpg", "", ""),
    ]
    assert [(row["unsure"], row["candidates"]) for row in rows[:2]] == [
        ("True", "happy|sad"),
        ("True", "sad|happy"),
    ]
    assert float(rows[1]["sad"]) == float(rows[1]["probability"]) == 0.75
    assert rows[3]["error"].endswith("it is empty.")


def test_parquet_and_pandas_have_the_rows_of_csv(tmp_path):
    pandas = pytest.importorskip("pandas")
    write(tmp_path / "all.csv", "csv")
    write(tmp_path / "all.parquet", "parquet")
    expected = pandas.read_csv(tmp_path / "all.csv")
    for found in (pandas.read_parquet(tmp_path / "all.parquet"), to_frame(PREDICTIONS)):
        assert list(found.columns) == list(expected.columns)
        pandas.testing.assert_frame_equal(
            found.fillna(math.nan), expected, check_dtype=False, check_exact=False
        )


@pytest.mark.parametrize("kind", FORMATS)
def test_an_error_leaves_a_readable_file_with_what_was_added(tmp_path, kind):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / f"part.{kind}"

    def stopped_after_one():
        with open_writers({kind: str(path)}, LABELS) as add:
            add(RECORDS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_after_one()
    readers = {
        "json": lambda: json.loads(path.read_text())[0]["faces"],
        "jsonl": lambda: json.loads(path.read_text())["faces"],
        "csv": lambda: pandas.read_csv(path),
        "parquet": lambda: pandas.read_parquet(path),
    }
    assert len(readers[kind]()) == 2
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_several_files_are_written_together(tmp_path):
    targets = {kind: str(tmp_path / f"all.{kind}") for kind in FORMATS}
    check_targets(targets)
    with open_writers(targets, LABELS) as add:
        for record in RECORDS:
            add(record)
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".csv", ".json", ".jsonl", ".parquet"]


def test_only_one_format_goes_to_standard_output():
    check_targets({"json": "-"})
    with pytest.raises(ValueError, match="Only one format .* got json and csv"):
        check_targets({"json": "-", "csv": "/dev/stdout"})


def test_names_that_are_not_unicode_stay_readable():
    assert source_name("photo-\udcff.jpg", 1) == r"photo-\xff.jpg"
    assert source_name(object(), 7) == "photo 7"
