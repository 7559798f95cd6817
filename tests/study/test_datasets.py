"""Data sets of a study: paths, reading on first use, synthetic images."""

import pytest

from fer_attention.study import StudyError, datasets, run_study
from fer_attention.study.datasets import DataSets, synthetic_faces
from tests.support.tiny_studies import tiny_study


def test_paths_of_the_call_override_those_of_the_file(tmp_path):
    with pytest.raises(StudyError, match="The data set faces needs a path"):
        DataSets(tiny_study(data={"faces": {"protocol": "official"}}))
    named = tiny_study(data={"faces": {"protocol": "official", "path": str(tmp_path / "file's")}})
    with pytest.raises(StudyError, match="file's does not exist"):
        DataSets(named)["faces"]
    with pytest.raises(StudyError, match="call's does not exist"):
        DataSets(named, {"faces": tmp_path / "call's"})["faces"]


def test_the_official_protocol_rejects_data_without_splits(tmp_path, monkeypatch):
    whole = synthetic_faces(images=70).take(range(40))  # its first 40 images hold no test split
    cut = whole.take(whole.splits == "train")
    monkeypatch.setattr(datasets, "synthetic_faces", lambda images, size: cut)
    with pytest.raises(StudyError, match="official needs the splits"):
        run_study(tiny_study(), tmp_path / "study", device="cpu")


def test_synthetic_faces_are_learnable_balanced_and_reproducible():
    one, other = synthetic_faces(subjects=5), synthetic_faces(subjects=5)
    assert (one.images == other.images).all()
    assert (synthetic_faces(seed=1).images != one.images).any()
    assert {name: int((one.splits == name).sum()) for name in ("train", "validation", "test")} == {
        "train": 168, "validation": 56, "test": 56
    }  # fmt: skip
    assert set(one.subjects) == {f"P0{number}" for number in range(5)}
    rows = synthetic_faces(noise=5).images.mean(axis=2)[:, :14].reshape(-1, 7, 2).mean(axis=2)
    assert (rows.argmax(axis=1) == synthetic_faces(noise=5).labels).all()


def test_a_data_set_is_read_once(monkeypatch):
    calls = []
    made = synthetic_faces()
    monkeypatch.setattr(datasets, "synthetic_faces", lambda images, size: calls.append(images) or made)
    data = DataSets(tiny_study())
    assert data["bars"] is data["bars"] is data.all()["bars"]
    assert calls == [70]
