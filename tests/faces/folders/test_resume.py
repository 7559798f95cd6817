"""Runs over folders that are stopped, killed, changed and resumed."""

import json
import shutil
import signal
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from fer_attention.faces.folders import FolderError, FolderOptions, crop_folder
from tests.support.forked import python
from tests.support.waiting_runs import run_together

JOURNAL = ".faces.jsonl"


def fill(folder, astronaut, count):
    """Save photos of one face, each cut differently, in three folders; every fifth has no face."""
    for number in range(count):
        pixels = astronaut[20 + number % 9 : 200, 140 + number % 7 : 310]
        if number % 5 == 4:
            pixels = np.full((64, 80, 3), number % 250, np.uint8)
        path = folder / f"class{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(JOURNAL)
    }


@pytest.fixture(scope="module")
def sixty(tmp_path_factory, astronaut):
    return fill(tmp_path_factory.mktemp("sixty"), astronaut, 60)


@pytest.fixture
def photos(tmp_path, sixty):
    """Sixty photos that a test may change."""
    return shutil.copytree(sixty, tmp_path / "photos")


def run(photos, output, **options):
    """Crop without a detector, to save time."""
    return crop_folder(photos, output, FolderOptions("none", **options), device="cpu")


class Stop(KeyboardInterrupt):
    pass


def stopped_after(photos, output, files):
    def stop(done, total):
        if done >= files:
            raise Stop

    with pytest.raises(Stop):
        crop_folder(photos, output, FolderOptions("none"), device="cpu", on_progress=stop)


def test_a_stopped_run_resumes_and_ends_with_the_same_files(photos, tmp_path):
    whole = run(photos, tmp_path / "whole")
    stopped_after(photos, tmp_path / "parts", 16)
    assert not (tmp_path / "parts" / "manifest.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("*.png")}
    assert 0 < len(before) < whole.crops
    seen = []
    again = FolderOptions("none")
    crop_folder(
        photos, tmp_path / "parts", again, device="cpu", on_progress=lambda *counts: seen.append(counts)
    )
    assert seen[0][0] >= 16  # finished photos are not repeated
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_finished_run_is_not_repeated(photos, tmp_path):
    first = run(photos, tmp_path / "crops")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").rglob("*.png")}
    again = run(photos, tmp_path / "crops")
    assert again.rows == first.rows
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_new_changed_and_removed_photos_and_lost_crops_are_updated(photos, tmp_path, astronaut):
    run(photos, tmp_path / "crops")
    Image.fromarray(astronaut[10:230, 120:320]).save(photos / "class1" / "new.png")
    Image.fromarray(astronaut[30:190, 150:300]).save(photos / "class0" / "000.png")
    (photos / "class2" / "002.png").unlink()
    (tmp_path / "crops" / "class1" / "001.png").unlink()
    run(photos, tmp_path / "crops")
    run(photos, tmp_path / "fresh")
    assert contents(tmp_path / "crops") == contents(tmp_path / "fresh")


def test_other_options_need_a_restart_which_removes_only_the_crops(photos, tmp_path):
    output = tmp_path / "crops"
    run(photos, output, faces="all")
    (output / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match=r"size was 80 and is 48.*--restart"):
        run(photos, output, faces="all", size=48)
    result = crop_folder(photos, output, FolderOptions("none", size=48), device="cpu", restart=True)
    run(photos, tmp_path / "other", size=48)
    assert contents(output) == {**contents(tmp_path / "other"), "mine.txt": b"keep"}
    assert result.crops == 60


def test_a_run_without_results_can_change_all_options(photos, tmp_path):
    with pytest.raises(FileNotFoundError):
        crop_folder(photos, tmp_path / "crops", FolderOptions("yolo", {"weights": "absent.onnx"}))
    assert run(photos, tmp_path / "crops").crops == 60


def test_a_missing_parquet_library_is_reported_before_the_work(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"fer_attention\[faces\]"):
        run(photos, tmp_path / "crops", manifest_format="parquet")
    assert not (tmp_path / "crops").exists()


def test_a_restart_without_an_earlier_run_changes_nothing(photos, tmp_path):
    (tmp_path / "manifest.csv").write_text("mine")
    with pytest.raises(ValueError, match="contains manifest.csv and no earlier run"):
        crop_folder(photos, tmp_path, device="cpu", restart=True)
    assert (tmp_path / "manifest.csv").read_text() == "mine"


@pytest.mark.parametrize("torn", [1, 40, 400])
def test_a_truncated_journal_line_repeats_only_its_photos(photos, tmp_path, torn):
    run(photos, tmp_path / "crops")
    whole = contents(tmp_path / "crops")
    journal = tmp_path / "crops" / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-torn])
    seen = []
    crop_folder(
        photos,
        tmp_path / "crops",
        FolderOptions("none"),
        device="cpu",
        on_progress=lambda done, total: seen.append(done),
    )
    assert 0 < seen[0] < 60
    assert contents(tmp_path / "crops") == whole
    assert all(json.loads(line) for line in journal.read_text().splitlines())


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    "name", ["../mine.txt", "class0/../../mine.txt", "{folder}/mine.txt", "link/mine.txt"]
)
def test_a_journal_that_names_files_outside_the_folder_is_refused(photos, tmp_path, name, restart):
    output, mine = tmp_path / "crops", tmp_path / "mine.txt"
    run(photos, output)
    mine.write_text("keep")
    (output / "link").symlink_to(tmp_path)
    header, line, *lines = (output / JOURNAL).read_text().splitlines()
    entry = json.loads(line)
    entry["rows"][0]["crop"] = name.format(folder=tmp_path)
    (output / JOURNAL).write_text("\n".join([header, json.dumps(entry), *lines, ""]))
    before = contents(output)
    with pytest.raises(ValueError, match=r"mine\.txt' leads out of the folder"):
        crop_folder(photos, output, FolderOptions("none"), device="cpu", restart=restart)
    assert mine.read_text() == "keep"
    assert contents(output) == before


def test_crops_are_not_written_through_a_link_out_of_the_folder(photos, tmp_path):
    (tmp_path / "crops").mkdir()
    (tmp_path / "elsewhere").mkdir()
    run(photos / "class1", tmp_path / "crops")  # so that it is the folder of a run
    (tmp_path / "crops" / "class0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"class0/000\.png' leads out of the folder"):
        run(photos, tmp_path / "crops")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "line", ["no JSON", "[]", "{}", '{"files": [["a"]], "rows": []}', '{"files": [], "rows": [{"nose": 1}]}']
)
def test_a_damaged_journal_is_named(photos, tmp_path, line):
    run(photos, tmp_path / "crops")
    journal = tmp_path / "crops" / JOURNAL
    journal.write_text(journal.read_text() + line + "\n")
    for restart in (False, True):
        with pytest.raises(ValueError, match=r"\.faces\.jsonl is damaged"):
            crop_folder(photos, tmp_path / "crops", FolderOptions("none"), device="cpu", restart=restart)


def test_a_refused_folder_is_left_as_it_is(photos, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="no earlier run"):
        crop_folder(photos, tmp_path, FolderOptions("none"), device="cpu")
    assert sorted(tmp_path.rglob("*")) == before


SCRIPT = """
import itertools, os, sys, threading
from fer_attention.faces.folders import FolderOptions, crop_folder

source, output, workers, last = sys.argv[1:]
replace, calls = os.replace, itertools.count(1)

def stopping(temporary, path):
    if str(path).endswith(".png") and next(calls) == int(last):
        print("a crop is half-written", flush=True)
        threading.Event().wait()
    replace(temporary, path)

os.replace = stopping
if last == "-1":
    print("ready", flush=True)
    sys.stdin.readline()
crop_folder(source, output, FolderOptions("none"), device="cpu", workers=int(workers))
"""


@contextmanager
def started(photos, output, workers, *, last=0):
    """Start a run of which a thread stops for ever before it finishes crop number `last`."""
    with python("-c", SCRIPT, photos, output, workers, last) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "crops"), [(1, [20]), (2, [1, 20, 5])])
def test_killed_runs_leave_no_damaged_crop_and_end_with_the_same_files(photos, tmp_path, workers, crops):
    output = tmp_path / "crops"
    for last in crops:
        with started(photos, output, workers, last=last) as process:
            assert process.stdout.readline() == "a crop is half-written\n"
        assert process.returncode == -signal.SIGKILL
        for path in output.rglob("[!.]*.png"):
            with Image.open(path) as crop:
                crop.load()
    for folder, count in ((output, workers), (tmp_path / "whole", 1)):
        with started(photos, folder, count) as process:
            assert process.wait() == 0
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_second_process_is_refused_while_the_first_one_works(photos, tmp_path):
    output = tmp_path / "crops"
    with started(photos, output, 1, last=20) as first:
        assert first.stdout.readline() == "a crop is half-written\n"
        before = contents(output)
        with started(photos, output, 2) as second:
            assert "Another run is writing to" in second.communicate()[1]
        assert second.returncode == 1
        assert contents(output) == before
    run(photos, output)
    run(photos, tmp_path / "whole")
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_processes_that_start_together_give_the_result_of_one(photos, tmp_path):
    output = tmp_path / "crops"
    ended = run_together(SCRIPT, photos, output, 2, -1)
    assert 0 in [code for code, _ in ended]
    for code, error in ended:
        assert code == 0 or "Another run is writing to" in error
    run(photos, tmp_path / "whole")
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_an_error_in_a_thread_is_raised_unchanged(photos, tmp_path):
    options = FolderOptions("mtcnn", missing="raise")
    with pytest.raises(FolderError, match="mtcnn found no face in"):
        crop_folder(photos, tmp_path / "crops", options, device="cpu", workers=2)
