"""Files of a study: whole, damaged, claimed, swept and set aside."""

import json
import shutil
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_attention.study import StudyError, read_records, run_study, runner, store
from fer_attention.study.records import FAILURE, PREDICTIONS, RECORD, Predictions, read_record
from fer_attention.study.store import Store
from tests.support.tiny_studies import InlineEngine, runs_of, tiny_study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two records: (folder of the study, one record, its folder)."""
    folder = tmp_path_factory.mktemp("store") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "LocalEngine", InlineEngine)
        run_study(tiny_study(replications__seeds=1), folder, device="cpu")
    place = next((folder / "runs").iterdir())
    return folder, read_record(place), place


@pytest.fixture
def study_folder(done, tmp_path):
    """A copy to damage."""
    folder = shutil.copytree(done[0], tmp_path / "study")
    return folder, folder / "runs" / done[1].id


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True), name=st.sampled_from([RECORD, PREDICTIONS]))
def test_a_file_cut_off_anywhere_is_set_aside_with_its_name(done, tmp_path_factory, share, name):
    folder = shutil.copytree(done[0], tmp_path_factory.mktemp("cut") / "study")
    place = folder / "runs" / done[1].id
    content = (place / name).read_bytes()
    (place / name).write_bytes(content[: int(share * len(content))])
    found = read_records(folder)
    assert [one.folder for one in found.set_aside] == [place]
    assert name in found.set_aside[0].reason
    assert len(found.runs) == 1
    assert done[1].id not in found.runs


@settings(max_examples=300)
@given(number=st.integers(0, 10_000), byte=st.integers(1, 255), keep=st.just(1.0) | st.floats(0, 1))
def test_no_bytes_of_predictions_raise_anything_but_a_value_error(done, number, byte, keep):
    content = bytearray((done[2] / PREDICTIONS).read_bytes())
    content[number % len(content)] ^= byte
    with suppress(ValueError):  # or they are read: a flip may hit what no reader looks at
        Predictions.from_bytes(bytes(content[: max(1, int(keep * len(content)))]))


def record_of_another_run(place):
    shutil.copytree(
        next(other for other in place.parent.iterdir() if other != place), place, dirs_exist_ok=True
    )


def predictions_of_another_run(place):
    other = next(other for other in place.parent.iterdir() if other != place)
    shutil.copy(other / PREDICTIONS, place / PREDICTIONS)


def edited(place):
    record = json.loads((place / RECORD).read_text())
    record["test"]["accuracy"] = "high"
    (place / RECORD).write_text(json.dumps(record))


def with_a_field_more(place):
    record = json.loads((place / RECORD).read_text())
    (place / RECORD).write_text(json.dumps({**record, "remark": "fine"}))


DAMAGE = [
    (record_of_another_run, "record.json is of run .*, not of this folder"),
    (predictions_of_another_run, "predictions.npz is not the file that the record names"),
    (lambda place: (place / PREDICTIONS).unlink(), "predictions.npz is missing"),
    (lambda place: (place / RECORD).write_bytes(b""), "record.json is damaged"),
    (lambda place: (place / RECORD).write_bytes(b"\xff\xfe{}"), "record.json is damaged"),
    (edited, "record.json is damaged: test.accuracy"),
    (with_a_field_more, "record.json is damaged: remark"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_what_is_damaged_is_never_averaged_in(study_folder, damage, reason):
    folder, place = study_folder
    damage(place)
    found = read_records(folder)
    assert [one.folder for one in found.set_aside] == [place]
    (one,) = found.set_aside
    pytest.raises(ValueError, read_record, place).match(reason)
    assert place.name not in found.runs
    assert one.reason == str(pytest.raises(ValueError, read_record, place).value)


def test_damaged_runs_are_moved_out_of_the_way_each_to_a_place_of_its_own(study_folder):
    folder, place = study_folder
    lying = Store(folder)
    assert lying.tidy(place.name) is None
    for number in (1, 2):
        place.mkdir(exist_ok=True)
        (place / RECORD).write_bytes(b"half")
        assert f"set_aside/{place.name}.{number}" in lying.tidy(place.name)
        assert (folder / "set_aside" / f"{place.name}.{number}" / RECORD).read_bytes() == b"half"
        assert lying.state(place.name) == "open"


def test_a_failure_is_noted_read_and_forgotten_with_its_training(tmp_path):
    run = runs_of(tiny_study())[0]
    lying = Store(tmp_path)
    lying.fail(run, "TrainingError: it diverged", "Traceback …")
    (lying.run_folder(run.id) / "training").mkdir()
    assert lying.state(run.id) == "failed"
    assert read_records(tmp_path).failed == {run.id: "TrainingError: it diverged"}
    (lying.run_folder(run.id) / FAILURE).write_text('{"rea')
    assert read_records(tmp_path).failed == {run.id: "unknown: failure.json is damaged"}
    lying.retry(run.id)
    assert lying.state(run.id) == "open"
    assert list(lying.run_folder(run.id).iterdir()) == []


def test_a_run_is_held_by_one_at_a_time(tmp_path):
    (tmp_path / "locks").mkdir()
    with Store(tmp_path).claim("a") as first, Store(tmp_path).claim("a") as second:
        assert (first, second) == (True, False)
        with Store(tmp_path).claim("b") as other:
            assert other
    with Store(tmp_path).claim("a") as again:
        assert again


def test_what_a_kill_left_is_swept_and_a_checkpoint_of_an_open_run_is_kept(study_folder):
    folder, place = study_folder
    for name in ("runs/open", f"runs/{place.name}"):
        (folder / name / "training").mkdir(parents=True)
        (folder / name / ".record.json.x1.json").write_text("half")
        Store(folder).tidy(name.removeprefix("runs/"))
    assert {path.name for path in place.iterdir()} == {RECORD, PREDICTIONS}
    assert {path.name for path in (folder / "runs" / "open").iterdir()} == {"training"}


@pytest.mark.parametrize("content", [None, b"", b'{"study": {}}', b'{"study": 1, "runs": []}'])
def test_a_folder_without_a_study_or_with_a_damaged_one_is_said(tmp_path, content):
    if content is not None:
        (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(StudyError, match=r"holds no study|study.json is damaged"):
        Store(tmp_path).manifest()
    with pytest.raises(FileNotFoundError, match="holds no study"):
        read_records(tmp_path)


def test_a_place_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="Cannot write into .*file"):
        Store(tmp_path / "file" / "study").begin(tiny_study(), [])

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_atomically", full)
    with pytest.raises(StudyError, match="Cannot write into .*No space left"):
        Store(tmp_path / "study").begin(tiny_study(), [])
