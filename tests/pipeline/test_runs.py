"""Resumable runs over photo files: what is done again, what is never touched, kills, two at once."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from fer_attention import EmotionRecognizer
from fer_attention.faces import ImageError
from fer_attention.journal import JournalFile
from fer_attention.pipeline.photos import PhotoOptions, PhotoWorker
from fer_attention.pipeline.runs import JOURNAL, PhotoRun
from tests.support.forked import run_python
from tests.support.killed_runs import contents, kill_and_compare
from tests.support.waiting_runs import run_together


@pytest.fixture(scope="module")
def recognizer():
    return EmotionRecognizer.from_pretrained(detector="none", device="cpu")


@pytest.fixture
def photos(tmp_path, astronaut):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(astronaut[number : 100 + number, 150:250]).save(folder / f"{number:02}.png")
    return sorted(folder.iterdir())


class Watched(PhotoWorker):
    """A worker that notes what it is asked for."""

    def stream(self, chunk):
        seen.extend(photo.name for _, photo in chunk)
        return super().stream(chunk)


seen: list[str] = []


def run(photos, output, recognizer, *, on_error="raise", options=None, pictures=True, workers=2):
    """Return the records of a run, and the names of the photos that it did."""
    seen.clear()
    worker = Watched(recognizer, PhotoOptions(on_error, keep_images=pictures))
    with PhotoRun(output, options or {}, pictures=pictures) as one:
        records = list(one.records(photos, worker, workers=workers))
    return records, sorted(seen)


def test_only_new_changed_and_lost_photos_are_done_again(photos, tmp_path, recognizer):
    output = tmp_path / "out"
    first, done = run(photos, output, recognizer)
    assert done == [photo.name for photo in photos]
    assert run(photos, output, recognizer) == (first, [])
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(photos[3])
    (output / "05.png").unlink()
    photos.append(photos[0].with_name("new.png"))
    photos[-1].write_bytes(photos[0].read_bytes())
    again, done = run(photos, output, recognizer)
    assert done == ["03.png", "05.png", "new.png"]
    assert [record["width"] for record in again[2:5]] == [100, 50, 100]
    assert run(photos, output, recognizer, options={"detector": "other"})[1] == sorted(p.name for p in photos)


def test_a_photo_that_cannot_be_read_is_tried_again(photos, tmp_path, recognizer):
    sound = photos[4].read_bytes()
    photos[4].write_bytes(b"damaged")
    with pytest.raises(ImageError, match=r"04\.png"):
        run(photos, tmp_path / "out", recognizer, workers=1)
    records, done = run(photos, tmp_path / "out", recognizer, on_error="skip")
    assert "error" in records[4]
    assert done[0] == "04.png"
    assert "00.png" not in done
    photos[4].write_bytes(sound)
    records, done = run(photos, tmp_path / "out", recognizer)
    assert done == ["04.png"]
    assert len(records[4]["faces"]) == 1


def test_foreign_files_are_never_replaced(photos, tmp_path, recognizer):
    output = tmp_path / "out"
    output.mkdir()
    for name in ("00.png", "01_2.png"):
        (output / name).write_text("mine")
    run([*photos[:2], *photos[:1]], output, recognizer)
    assert sorted(contents(output)) == ["00.png", "00_2.png", "01.png", "01_2.png"]
    assert contents(output)["00.png"] == contents(output)["01_2.png"] == b"mine"


def test_a_journal_that_names_files_outside_is_refused(photos, tmp_path, recognizer):
    output = tmp_path / "out"
    output.mkdir()
    (output / JOURNAL).write_text(json.dumps({"names": {str(photos[0]): "../photos/00.png"}}) + "\n")
    before = photos[0].read_bytes()
    with pytest.raises(ValueError, match="leads out of the folder"):
        run(photos, output, recognizer)
    assert photos[0].read_bytes() == before
    JournalFile(output / JOURNAL).close()  # nobody holds it


@pytest.mark.parametrize(
    "entry", [{"names": []}, {"names": {"a": 3}}, {"options": 0, "done": 5}, {"options": "x", "done": [[1]]}]
)
def test_a_damaged_journal_is_named(photos, tmp_path, recognizer, entry):
    (tmp_path / JOURNAL).write_text(json.dumps(entry) + "\n")
    with pytest.raises(ValueError, match=r"\.predict\.jsonl is damaged"):
        run(photos, tmp_path, recognizer)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("command", ["predict", "faces"])
def test_runs_that_are_killed_at_any_moment_end_with_the_same_files(photos, tmp_path, command):
    kill_and_compare(command, photos[0].parent, tmp_path, kills=8, seed=0)


TOGETHER = """
import sys
from fer_attention.cli import app
import fer_attention.cli.predict, fer_attention.pipeline.runs, fer_attention.recognizer
print("ready", flush=True)
sys.stdin.readline()
app(sys.argv[1:])
"""


@pytest.mark.slow
def test_runs_that_start_together_give_the_result_of_one(photos, tmp_path):
    def command(output):
        return ["predict", photos[0].parent, "--output", output, "--detector", "none", "--quiet"]

    assert run_python("-m", "fer_attention.cli", *command(tmp_path / "whole"))[0] == 0
    ended = run_together(TOGETHER, *command(tmp_path / "out"))
    assert 0 in [code for code, _ in ended]
    for code, error in ended:
        assert code == 0 or (code == 2 and "Another run is writing to" in error)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
