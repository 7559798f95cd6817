"""Photos on a Ray cluster of this machine: equal rows, failures as rows, the death of an actor."""

import os
import signal
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention import EmotionRecognizer
from fer_attention.cli import app
from fer_attention.pipeline import cluster
from fer_attention.pipeline.cluster import ClusterResult, list_addresses, predict_on_cluster
from fer_attention.pipeline.photos import PhotoOptions, PhotoWorker
from tests.support.paths import ROOT

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def photos(tmp_path, astronaut):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number in range(150):
        name = f"{number:03}.jpg" if number % 3 else f"sub/{number:03}.png"
        Image.fromarray(astronaut[number % 9 : 100 + number % 9, 150:240]).save(folder / name)
    (folder / "007.jpg").write_bytes(b"damaged")
    (folder / "._008.jpg").write_bytes(b"of macOS")
    (folder / "notes.txt").write_text("text")
    return folder


def test_folders_addresses_and_patterns_are_listed(photos):
    names = sorted(path.name for path in photos.rglob("[0-9]*"))
    for given in (str(photos), photos.as_uri(), f"{photos.as_uri()}/"):
        assert sorted(Path(one).name for one in list_addresses([given, given])) == names
    [jpeg] = list_addresses([f"{photos.as_uri()}/00*4.jpg"])
    assert jpeg == (photos / "004.jpg").as_uri()
    assert list_addresses([jpeg]) == [jpeg]
    for given in (f"{photos.as_uri()}/*.gif", "unknown://bucket/photos"):
        with pytest.raises(ValueError, match="no image file|Unrecognized"):
            list_addresses([given])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runner", "rya", "--parquet", "out"], "Did you mean 'ray'"),
        (["--runner", "ray"], "use --parquet FOLDER"),
        (["--runner", "ray", "--parquet", "out", "--csv", "out.csv"], "use --parquet FOLDER"),
        (["--address", "auto"], "add --runner ray"),
    ],
)
def test_wrong_options_end_in_one_line(photos, options, message):
    result = CliRunner().invoke(app, ["predict", str(photos), *options], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_folder_with_files_is_refused(photos):
    pytest.importorskip("ray", reason="Ray is not installed: fer_attention[ray]")
    with pytest.raises(ValueError, match="holds files"):
        predict_on_cluster([], str(photos), None)


class OneDeath(PhotoWorker):
    """A worker of which the first process that works is killed, after some of its photos."""

    def __call__(self, chunk):
        if any("063" in str(photo) for _, photo in chunk):
            try:
                (Path(os.environ["FER_ATTENTION_TEST"]) / "died").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(chunk)


@pytest.mark.slow
def test_an_actor_that_is_killed_costs_no_row(photos, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: fer_attention[ray]")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("FER_ATTENTION_TEST", str(tmp_path))
    recognizer = EmotionRecognizer.from_pretrained(detector="none", device="cpu")
    worker = OneDeath(recognizer, PhotoOptions("skip"))
    addresses = list_addresses([str(photos / "sub"), f"{photos.as_uri()}/*.jpg"])
    addresses.append((photos / "gone.jpg").as_uri())
    result = predict_on_cluster(addresses, str(tmp_path / "out"), worker, actors=1)
    assert (tmp_path / "died").exists()
    assert result == ClusterResult(photos=151, failed=2, without_face=0)
    table = {row["image"]: row for row in parquet.read_table(tmp_path / "out").to_pylist()}
    assert sorted(table) == sorted(addresses)
    for name, reason in (("007.jpg", "not an image"), ("gone.jpg", "Cannot read")):
        assert reason in table[(photos / name).as_uri()]["error"]
    expected = recognizer.predict(photos / "sub" / "063.png")[0]
    assert table[str(photos / "sub" / "063.png")]["happy"] == round(expected.probabilities["happy"], 4)


class Deadly(PhotoWorker):
    """A worker whose process dies of one photo each time."""

    def __call__(self, chunk):
        if any("063" in str(photo) for _, photo in chunk):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(chunk)


@pytest.mark.slow
def test_a_photo_that_kills_every_actor_ends_the_run(photos, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: fer_attention[ray]")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(cluster, "_DEATHS", 1)
    worker = Deadly(EmotionRecognizer.from_pretrained(detector="none", device="cpu"), PhotoOptions("skip"))
    with pytest.raises(RuntimeError, match="failed on the cluster"):
        predict_on_cluster(list_addresses([str(photos / "sub")]), str(tmp_path / "out"), worker, actors=1)


@pytest.mark.slow
def test_the_command_gives_the_rows_of_the_local_runner(photos, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: fer_attention[ray]")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    common = ["predict", str(photos), "--detector", "none", "--on-error", "skip", "--workers", "2"]
    tables = []
    for name, options in (("local.parquet", ["--quiet"]), ("ray", ["--runner", "ray"])):
        result = CliRunner().invoke(app, [*common, *options, "--parquet", str(tmp_path / name)])
        assert result.exit_code == 1, result.output
        assert "1 of 150 photos could not be read" in result.stderr
        rows = parquet.read_table(tmp_path / name).to_pylist()
        tables.append(sorted(rows, key=lambda row: row["image"]))
    assert tables[0] == tables[1]
