import numpy as np
import pytest
from PIL import Image

from fer_attention.data import DataError, FaceDataset, load_fer2013
from fer_attention.emotions import FER2013
from tests.support.datasets import write_kaggle, zipped


@pytest.fixture
def kaggle(tmp_path):
    return write_kaggle(tmp_path / "fer2013")


def test_official_splits_come_from_file_names(kaggle):
    faces = load_fer2013(kaggle)
    assert len(faces) == 28
    assert faces.label_names == FER2013
    assert [len(faces.split(name)) for name in ("train", "public", "private")] == [14, 7, 7]
    for name, label in zip(faces.names, faces.labels, strict=True):
        assert f"/{FER2013[label]}/" in name


def test_a_zip_file_reads_like_its_folder(kaggle):
    folder, archive = load_fer2013(kaggle), load_fer2013(zipped(kaggle))
    for field in ("images", "labels", "names", "splits"):
        np.testing.assert_array_equal(getattr(folder, field), getattr(archive, field))


DAMAGE = {
    "not a complete image": lambda root: (root / "train/sad/Training_99.png").write_bytes(b"no image"),
    "not a complete": lambda root: (root / "train/sad/Training_99.jpg").write_bytes(truncated_jpeg()),
    "40×30 pixels": lambda root: Image.new("L", (40, 30)).save(root / "train/sad/Training_99.png"),
    "its split is unknown": lambda root: Image.new("L", (48, 48)).save(root / "train/sad/photo_99.png"),
    "'happyy' is not one of": lambda root: misnamed(root),
}


def truncated_jpeg():
    import io

    buffer = io.BytesIO()
    Image.effect_noise((48, 48), 60).save(buffer, "JPEG")
    return buffer.getvalue()[:600]


def misnamed(root):
    (root / "train/happyy").mkdir()
    Image.new("L", (48, 48)).save(root / "train/happyy/Training_99.png")


@pytest.mark.parametrize("reason", DAMAGE)
def test_an_unusable_file_is_an_error_or_a_listed_skip(kaggle, reason):
    DAMAGE[reason](kaggle)
    with pytest.raises(DataError, match=reason):
        load_fer2013(kaggle)
    faces = load_fer2013(kaggle, on_error="skip")
    assert len(faces) == 28
    [(name, why)] = faces.skipped
    assert "99" in name
    assert reason in why


def test_a_damaged_member_of_a_zip_is_an_error_or_a_listed_skip(kaggle):
    archive = zipped(kaggle)
    content = bytearray(archive.read_bytes())
    place = content.index(b"IDAT") + 40  # inside the first image's stored pixels: its checksum fails
    content[place : place + 4] = bytes(255 - byte for byte in content[place : place + 4])
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match="cannot be read .Bad CRC-32"):
        load_fer2013(archive)
    faces = load_fer2013(archive, on_error="skip")
    assert (len(faces), len(faces.skipped)) == (27, 1)


def test_absent_empty_and_foreign_sources_explain_what_is_expected(tmp_path):
    for path, message in ((tmp_path / "none", "does not exist"), (tmp_path, "No FER2013 image")):
        with pytest.raises(DataError, match=message):
            load_fer2013(path)
    (tmp_path / "x.zip").write_bytes(b"PK no")
    with pytest.raises(DataError, match="neither a folder nor a table nor a whole zip or tar file"):
        load_fer2013(tmp_path / "x.zip")
    with pytest.raises(ValueError, match="Known: raise, skip"):
        load_fer2013(tmp_path, on_error="ignore")


def test_a_missing_split_lists_the_existing_ones(kaggle):
    with pytest.raises(DataError, match="private.*public.*train"):
        load_fer2013(kaggle).split("validation")


def test_seen_in_finds_equal_pixels_only(kaggle):
    source, target = kaggle / "train/happy", kaggle / "test/sad"
    [twin] = target.glob("PrivateTest_*")
    twin.write_bytes(next(source.iterdir()).read_bytes())
    faces = load_fer2013(kaggle)
    private = faces.split("private")
    seen = private.seen_in(faces.split("train"))
    assert private.names[seen].tolist() == [f"test/sad/{twin.name}"]


def test_fields_that_do_not_fit_together_are_refused():
    fields = {
        "images": np.zeros((2, 4, 4), np.uint8),
        "labels": np.array([0, 1]),
        "names": np.array(["a", "b"]),
        "splits": np.array(["train", "train"]),
        "label_names": ("sad", "happy"),
    }
    assert len(FaceDataset(**fields)) == 2
    for change in (
        {"labels": np.array([0])},
        {"labels": np.array([0, 2])},
        {"labels": np.array([-1, 0])},
        {"images": np.zeros((2, 4, 4))},
    ):
        with pytest.raises(DataError):
            FaceDataset(**{**fields, **change})


@pytest.mark.data
def test_the_real_fer2013_has_its_published_counts_and_duplicates(real_fer2013):
    train, public, private = (real_fer2013.split(name) for name in ("train", "public", "private"))
    assert np.bincount(train.labels).tolist() == [3995, 436, 4097, 7215, 4830, 3171, 4965]
    assert np.bincount(public.labels).tolist() == [467, 56, 496, 895, 653, 415, 607]
    assert np.bincount(private.labels).tolist() == [491, 55, 528, 879, 594, 416, 626]
    assert public.seen_in(train).sum() == 280
    assert private.seen_in(train).sum() == 288
