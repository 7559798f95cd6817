"""Runs over folders that are stopped, killed, changed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from fer_attention.faces.folders import FolderOptions, crop_folder

JOURNAL = ".faces.jsonl"


def fill(folder, astronaut, count):
    """Photos of one face, cut a little differently each, in three folders; every fifth has no face."""
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
    """Without a detector, which costs the most time and matters the least here."""
    return crop_folder(photos, output, FolderOptions("none", **options), device="cpu")


class Stop(KeyboardInterrupt):
    pass


def stopped_after(photos, output, files):
    def stop(done, total):
        if done >= files:
            raise Stop

    with pytest.raises(Stop):
        crop_folder(photos, output, FolderOptions("none"), device="cpu", on_progress=stop)


def test_a_stopped_run_goes_on_where_it_was_and_ends_the_same(photos, tmp_path):
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
    assert seen[0][0] >= 16  # what was done is not done again
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_finished_run_is_not_done_again(photos, tmp_path):
    first = run(photos, tmp_path / "crops")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "crops").rglob("*.png")}
    again = run(photos, tmp_path / "crops")
    assert again.rows == first.rows
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_new_changed_and_removed_photos_and_lost_crops_are_put_right(photos, tmp_path, astronaut):
    run(photos, tmp_path / "crops")
    Image.fromarray(astronaut[10:230, 120:320]).save(photos / "class1" / "new.png")
    Image.fromarray(astronaut[30:190, 150:300]).save(photos / "class0" / "000.png")
    (photos / "class2" / "002.png").unlink()
    (tmp_path / "crops" / "class1" / "001.png").unlink()
    run(photos, tmp_path / "crops")
    run(photos, tmp_path / "fresh")
    assert contents(tmp_path / "crops") == contents(tmp_path / "fresh")


def test_other_options_are_refused_and_a_restart_removes_what_was_made_and_nothing_else(photos, tmp_path):
    output = tmp_path / "crops"
    run(photos, output, faces="all")
    (output / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match=r"size was 80 and is 48.*--restart"):
        run(photos, output, faces="all", size=48)
    result = crop_folder(photos, output, FolderOptions("none", size=48), device="cpu", restart=True)
    run(photos, tmp_path / "other", size=48)
    assert contents(output) == {**contents(tmp_path / "other"), "mine.txt": b"keep"}
    assert result.crops == 60


def test_a_run_that_did_nothing_binds_to_no_options(photos, tmp_path):
    with pytest.raises(FileNotFoundError):
        crop_folder(photos, tmp_path / "crops", FolderOptions("yolo", {"weights": "absent.onnx"}))
    assert run(photos, tmp_path / "crops").crops == 60


def test_a_missing_library_for_the_manifest_shows_before_the_work(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"fer_attention\[faces\]"):
        run(photos, tmp_path / "crops", manifest_format="parquet")
    assert not (tmp_path / "crops").exists()


def test_a_restart_without_a_run_touches_nothing(photos, tmp_path):
    (tmp_path / "manifest.csv").write_text("mine")
    with pytest.raises(ValueError, match="contains manifest.csv and no earlier run"):
        crop_folder(photos, tmp_path, device="cpu", restart=True)
    assert (tmp_path / "manifest.csv").read_text() == "mine"


@pytest.mark.parametrize("torn", [1, 40, 400])
def test_a_half_written_line_of_the_journal_costs_its_photos_only(photos, tmp_path, torn):
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


COMMAND = """
import sys
from fer_attention.faces.folders import FolderOptions, crop_folder

if __name__ == "__main__":
    source, output, workers = sys.argv[1:]
    crop_folder(source, output, FolderOptions(), device="cpu", workers=int(workers))
"""


def start(tmp_path, photos, output, jobs):
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(script), str(photos), str(output), str(jobs)], env=environment
    )


def crops_in(output):
    return len(list(output.rglob("*.png"))) if output.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_processes_leave_no_half_crop_and_end_the_same(tmp_path, astronaut, jobs):
    photos = fill(tmp_path / "photos", astronaut, 300)
    output = tmp_path / "crops"
    generator = np.random.default_rng(jobs)
    kills = 0
    for _ in range(3):
        process = start(tmp_path, photos, output, jobs)
        before = crops_in(output)
        while process.poll() is None and crops_in(output) <= before:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.3))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        for path in output.rglob("[!.]*.png"):
            with Image.open(path) as crop:
                crop.load()
    assert kills > 0
    time.sleep(2)
    settled = contents(output)
    time.sleep(1)
    assert contents(output) == settled  # no orphan goes on writing
    assert start(tmp_path, photos, output, jobs).wait() == 0
    assert start(tmp_path, photos, tmp_path / "whole", 1).wait() == 0
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_an_error_in_a_process_of_several_comes_back_as_it_is(photos, tmp_path):
    script = tmp_path / "strict.py"
    script.write_text(COMMAND.replace("FolderOptions()", "FolderOptions(missing='raise')"))
    arguments = [sys.executable, str(script), str(photos), str(tmp_path / "crops"), "2"]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "FolderError: mtcnn found no face in" in result.stderr
