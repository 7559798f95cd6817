"""Folder of a study: records, damage, claims and failures."""

import pytest

from fer_attention.study import StudyError, read_records
from fer_attention.study.records import FAILURE, PREDICTIONS, RECORD
from fer_attention.study.store import Store
from tests.support.tiny_studies import runs_of, tiny_study


def test_damaged_runs_are_moved_to_numbered_folders(study_folder):
    folder, run_folder = study_folder
    store = Store(folder)
    assert store.tidy(run_folder.name) is None
    for number in (1, 2):
        run_folder.mkdir(exist_ok=True)
        (run_folder / RECORD).write_bytes(b"half")
        assert f"set_aside/{run_folder.name}.{number}" in store.tidy(run_folder.name)
        assert (folder / "set_aside" / f"{run_folder.name}.{number}" / RECORD).read_bytes() == b"half"
        assert store.state(run_folder.name) == "open"


def test_a_failure_is_recorded_read_and_cleared_for_a_retry(tmp_path):
    run = runs_of(tiny_study())[0]
    store = Store(tmp_path)
    store.fail(run, "TrainingError: it diverged", "Traceback …")
    (store.run_folder(run.id) / "training").mkdir()
    assert store.state(run.id) == "failed"
    assert read_records(tmp_path).failed == {run.id: "TrainingError: it diverged"}
    (store.run_folder(run.id) / FAILURE).write_text('{"rea')
    assert read_records(tmp_path).failed == {run.id: "unknown: failure.json is damaged"}
    store.retry(run.id)
    assert store.state(run.id) == "open"
    assert list(store.run_folder(run.id).iterdir()) == []


def test_only_one_process_can_claim_a_run(tmp_path):
    (tmp_path / "locks").mkdir()
    with Store(tmp_path).claim("a") as first, Store(tmp_path).claim("a") as second:
        assert (first, second) == (True, False)
        with Store(tmp_path).claim("b") as other:
            assert other
    with Store(tmp_path).claim("a") as again:
        assert again


def test_tidy_removes_leftovers_and_keeps_checkpoints_of_open_runs(study_folder):
    folder, run_folder = study_folder
    for name in ("runs/open", f"runs/{run_folder.name}"):
        (folder / name / "training").mkdir(parents=True)
        (folder / name / ".record.json.x1.json").write_text("half")
        Store(folder).tidy(name.removeprefix("runs/"))
    assert {path.name for path in run_folder.iterdir()} == {RECORD, PREDICTIONS}
    assert {path.name for path in (folder / "runs" / "open").iterdir()} == {"training"}


@pytest.mark.parametrize("content", [None, b"", b'{"study": {}}', b'{"study": 1, "runs": []}'])
def test_missing_and_damaged_studies_are_reported(tmp_path, content):
    if content is not None:
        (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(StudyError, match=r"has no study.json|study.json is damaged"):
        Store(tmp_path).manifest()
    with pytest.raises(FileNotFoundError, match="has no folder runs"):
        read_records(tmp_path)


def test_folders_that_cannot_be_written_are_reported(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="Cannot write into .*file"):
        Store(tmp_path / "file" / "study").begin(tiny_study(), [])

    def full(path, content):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("fer_attention.study.store.write_atomically", full)
    with pytest.raises(StudyError, match="Cannot write into .*no space left"):
        Store(tmp_path / "study").begin(tiny_study(), [])
