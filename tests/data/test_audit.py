import json

import numpy as np
import pytest
from PIL import Image

from fer_attention.data import FaceDataset, ImageFiles, audit
from fer_attention.data.duplicates import near_pairs


def faces(count, size=48, seed=0):
    """Smooth random pictures, no two alike."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 6, 6)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(i).resize((size, size), Image.BICUBIC)) for i in small])


def crops(images, labels=None, splits=None, **columns):
    count = len(images)
    return FaceDataset(
        images=images,
        labels=np.zeros(count, np.int64) if labels is None else np.array(labels),
        names=np.array([f"{i}.png" for i in range(count)]),
        splits=np.array(["train"] * count if splits is None else splits),
        label_names=("happy", "sad"),
        **columns,
    )


def test_identical_images_are_counted_within_and_across_splits():
    images = faces(6)
    data = crops(
        images[[0, 1, 2, 2, 0, 0, 3, 1]],
        labels=[0, 0, 1, 1, 0, 1, 0, 0],
        splits=["train"] * 4 + ["public", "private", "private", "private"],
    )
    found = audit(data, near=False)
    assert found.exact == ((0, 4, 5), (1, 7), (2, 3))
    assert found.copies() == {
        ("private", "public"): 1,
        ("private", "train"): 2,
        ("public", "private"): 1,
        ("public", "train"): 1,
        ("train", "private"): 2,
        ("train", "public"): 1,
        ("train", "train"): 1,
    }
    assert found.conflicts() == [(0, 4, 5)]
    assert found.near is None
    assert found.splits == ["train", "public", "private"]


def changed(image, how):
    picture = Image.fromarray(image)
    if how == "mirrored":
        return image[:, ::-1]
    if how == "darker":
        return (image * 0.6).astype(np.uint8)
    if how == "shifted":
        return np.roll(image, 1, axis=1)
    return np.asarray(picture.resize((40, 40)).resize((48, 48)))


@pytest.mark.parametrize("how", ["mirrored", "darker", "shifted", "resampled"])
def test_near_duplicates_of_a_photograph_are_found(how):
    images = faces(40)
    other = changed(images[7], how)[None]
    pairs = near_pairs(np.concatenate([images, other]))
    assert [(pair.first, pair.second, pair.mirrored) for pair in pairs] == [(7, 40, how == "mirrored")]


def test_the_correlation_is_that_of_the_averaged_images():
    images = faces(30)
    for pair in near_pairs(images, threshold=0.3):
        a, b = (images[row].reshape(24, 2, 24, 2).mean((1, 3)) for row in (pair.first, pair.second))
        upright = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        mirrored = np.corrcoef(a.ravel(), b[:, ::-1].ravel())[0, 1]
        assert pair.correlation == pytest.approx(max(upright, mirrored), abs=1e-5)
        assert pair.mirrored == (mirrored > upright)
    assert len(near_pairs(images, threshold=0.3)) > 5


def test_pairs_are_found_across_blocks(monkeypatch):
    from fer_attention.data import duplicates  # noqa: PLC0415

    images = np.concatenate([faces(30), (faces(30) * 0.7).astype(np.uint8)])
    whole = near_pairs(images)
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    seen = []
    parts = near_pairs(images, on_progress=lambda done, total: seen.append((done, total)))
    assert {(p.first, p.second) for p in parts} == {(p.first, p.second) for p in whole}
    assert {(i, i + 30) for i in range(30)} <= {(p.first, p.second) for p in parts}
    assert seen[-1] == (45, 45)


def test_identical_and_blank_images_are_not_near_pairs():
    blank = np.full((2, 48, 48), 90, np.uint8)
    blank[1, 0, 0] = 91
    assert near_pairs(np.concatenate([faces(3), faces(3), blank])) == []


def test_blank_images_shared_people_and_contradictions_are_listed():
    images = faces(6)
    images[5] = 17
    images[4] = (images[0] * 0.8).astype(np.uint8)
    data = crops(
        images,
        labels=[0, 0, 0, 1, 1, 0],
        splits=["train"] * 3 + ["test"] * 3,
        subjects=np.array(["A", "B", "C", "C", "D", "D"]),
        sequences=np.array(["A1", "B1", "C1", "C2", "D1", "D1"]),
        skipped=(("x.png", "damaged"),),
    )
    found = audit(data)
    assert found.blank == (5,)
    assert found.shared == {"subjects": ("C",), "sequences": ()}
    assert [(p.first, p.second) for p in found.near_conflicts()] == [(0, 4)]
    assert found.near_copies() == {("train", "test"): 1}
    record = json.loads(json.dumps(found.to_dict()))
    assert record["blank"] == [{"name": "5.png", "split": "test", "label": "happy"}]
    assert record["in_several_splits"] == {"subjects": ["C"], "sequences": []}
    assert record["near"]["list"][0]["images"][1]["name"] == "4.png"
    assert record["skipped"] == [{"name": "x.png", "reason": "damaged"}]
    assert record["classes"]["train"] == {"happy": 3, "sad": 0}


def test_files_on_disk_are_audited_like_images_in_memory(tmp_path):
    images = faces(5)[[0, 1, 2, 3, 0]]
    paths = []
    for number, image in enumerate(images):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    found = audit(crops(ImageFiles(tuple(paths))))
    assert found.exact == audit(crops(images)).exact == ((0, 4),)


@pytest.mark.data
def test_the_copies_in_fer2013_are_found(real_fer2013):
    found = audit(real_fer2013, near=False)
    copies = found.copies()
    assert (copies["train", "public"], copies["train", "private"]) == (280, 288)
    assert len(found.data) == 35_887
