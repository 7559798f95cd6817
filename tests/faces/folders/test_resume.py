"""Runs over folders that are stopped, killed, changed and resumed."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fer_attention.faces.folders import FolderError, FolderOptions, crop_folder

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
        if path.is_file() and path.name != JOURNAL
    }


@pytest.fixture
def photos(tmp_path, astronaut):
    return fill(tmp_path / "photos", astronaut, 60)


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
if __name__ == "__main__":
    crop_folder(source, output, FolderOptions("none"), device="cpu", workers=int(workers))
"""


def start(tmp_path, photos, output, workers, *, last=0):
    """Start a run whose processes each stop for ever before finishing crop number `last`."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(photos), str(output), str(workers), str(last)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_runs_leave_no_damaged_crop_and_end_with_the_same_files(photos, tmp_path, workers):
    output = tmp_path / "crops"
    for last in (1, 20, 5):  # some process always gets that far
        with start(tmp_path, photos, output, workers, last=last) as process:
            assert process.stdout.readline() == b"a crop is half-written\n"
            process.send_signal(signal.SIGKILL)
            process.stdout.read()  # ends when the last process of the run has ended, so none is orphaned
        assert process.returncode == -signal.SIGKILL
        for path in output.rglob("[!.]*.png"):
            with Image.open(path) as crop:
                crop.load()
    for folder, count in ((output, workers), (tmp_path / "whole", 1)):
        with start(tmp_path, photos, folder, count) as process:
            assert process.wait() == 0
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_an_error_in_a_worker_process_is_raised_unchanged(photos, tmp_path):
    options = FolderOptions("mtcnn", missing="raise")
    with pytest.raises(FolderError, match="mtcnn found no face in"):
        crop_folder(photos, tmp_path / "crops", options, device="cpu", workers=2)
