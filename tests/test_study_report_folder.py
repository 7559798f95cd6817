"""A report of a study's folder on the disk, as the command writes it."""

import json

import pytest
from study_analyses import make_records, make_study

from fer_attention.study.config import StudyError
from fer_attention.study.records import PREDICTIONS, RECORD, sha256
from fer_attention.study.report import write_report


@pytest.fixture
def folder(tmp_path):
    """A finished study of two conditions with two runs each."""
    manifest, records = make_records(
        make_study(factors={"backbone": "vgg11", "attention": ["none", "se"]}), seeds=2
    )
    for name, run in records.runs.items():
        place = tmp_path / "study" / "runs" / name
        place.mkdir(parents=True)
        content = records.predictions(name).to_bytes()
        (place / PREDICTIONS).write_bytes(content)
        record = run.model_copy(update={"predictions_sha256": sha256(content)})
        (place / RECORD).write_text(record.model_dump_json())
    (tmp_path / "study" / "study.json").write_text(manifest.model_dump_json())
    return tmp_path / "study"


def test_the_report_lies_in_the_studys_folder_and_damaged_runs_are_named_in_it(folder):
    damaged = sorted((folder / "runs").iterdir())[0]
    (damaged / PREDICTIONS).write_bytes(b"cut off")
    paths = write_report(folder)
    assert paths.html == folder / "report" / "report.html"
    assert all(path.is_file() for path in (paths.html, paths.markdown, paths.csv, paths.json))
    assert all(path.is_file() for path in (*paths.tables, *paths.plots))
    assert damaged.name in paths.html.read_text()
    assert len(paths.csv.read_text().splitlines()) == 1 + 3
    assert json.loads(paths.json.read_text())["set_aside"][0]["folder"] == damaged.name


def test_a_folder_without_finished_runs_or_without_a_study_is_refused(folder, tmp_path):
    for record in folder.glob(f"runs/*/{RECORD}"):
        record.unlink()
    with pytest.raises(StudyError, match="nothing to report"):
        write_report(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(StudyError, match="no study"):
        write_report(tmp_path)
