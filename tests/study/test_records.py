"""Records and predictions of runs: complete, truncated, modified or of another run."""

import json
import shutil
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_attention.study import read_records
from fer_attention.study.records import PREDICTIONS, RECORD, Predictions, read_record


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True), name=st.sampled_from([RECORD, PREDICTIONS]))
def test_a_truncated_file_is_set_aside_and_named(finished_study, tmp_path_factory, share, name):
    folder = shutil.copytree(finished_study[0], tmp_path_factory.mktemp("cut") / "study")
    run_folder = folder / "runs" / finished_study[1].id
    content = (run_folder / name).read_bytes()
    (run_folder / name).write_bytes(content[: int(share * len(content))])
    found = read_records(folder)
    assert [one.folder for one in found.set_aside] == [run_folder]
    assert name in found.set_aside[0].reason
    assert len(found.runs) == 1
    assert finished_study[1].id not in found.runs


@settings(max_examples=300)
@given(number=st.integers(0, 10_000), byte=st.integers(1, 255), keep=st.just(1.0) | st.floats(0, 1))
def test_corrupt_predictions_raise_value_errors_only(finished_study, number, byte, keep):
    content = bytearray((finished_study[2] / PREDICTIONS).read_bytes())
    content[number % len(content)] ^= byte
    with suppress(ValueError):  # or they are valid: the flipped bit may be unused
        Predictions.from_bytes(bytes(content[: max(1, int(keep * len(content)))]))


def record_of_another_run(run_folder):
    shutil.copytree(
        next(other for other in run_folder.parent.iterdir() if other != run_folder),
        run_folder,
        dirs_exist_ok=True,
    )


def predictions_of_another_run(run_folder):
    other = next(other for other in run_folder.parent.iterdir() if other != run_folder)
    shutil.copy(other / PREDICTIONS, run_folder / PREDICTIONS)


def edited(run_folder):
    record = json.loads((run_folder / RECORD).read_text())
    record["test"]["accuracy"] = "high"
    (run_folder / RECORD).write_text(json.dumps(record))


def with_a_field_more(run_folder):
    record = json.loads((run_folder / RECORD).read_text())
    (run_folder / RECORD).write_text(json.dumps({**record, "remark": "fine"}))


DAMAGE = [
    (record_of_another_run, "record.json belongs to run .*, not to this folder"),
    (predictions_of_another_run, "predictions.npz does not match the hash in the record"),
    (lambda run_folder: (run_folder / PREDICTIONS).unlink(), "predictions.npz is missing"),
    (lambda run_folder: (run_folder / RECORD).write_bytes(b""), "record.json is damaged"),
    (lambda run_folder: (run_folder / RECORD).write_bytes(b"\xff\xfe{}"), "record.json is damaged"),
    (edited, "record.json is damaged: test.accuracy"),
    (with_a_field_more, "record.json is damaged: remark"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_damaged_runs_are_excluded_with_their_reason(study_folder, damage, reason):
    folder, run_folder = study_folder
    damage(run_folder)
    found = read_records(folder)
    assert [one.folder for one in found.set_aside] == [run_folder]
    (one,) = found.set_aside
    pytest.raises(ValueError, read_record, run_folder).match(reason)
    assert run_folder.name not in found.runs
    assert one.reason == str(pytest.raises(ValueError, read_record, run_folder).value)
