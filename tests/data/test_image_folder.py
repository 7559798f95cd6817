"""Folders of images, one an emotion."""

import numpy as np
import pytest
from PIL import Image

from fer_attention.data import DataError, ImageFiles, load_image_folder
from fer_attention.emotions import CKPLUS, FER2013, FERPLUS
from fer_attention.faces import ImageError, load_image
from tests.support.datasets import noise, save, zipped


def write(root, *names, size=(60, 70, 3)):
    for number, name in enumerate(names):
        save(root / name, noise(number, size))
    return root


def test_folders_are_emotions_in_any_spelling(tmp_path):
    faces = load_image_folder(write(tmp_path, "Happiness/b.png", "anger/a.png", "boredom/c.jpg"))
    assert faces.label_names == ("angry", "boredom", "happy")
    assert faces.names.tolist() == ["Happiness/b.png", "anger/a.png", "boredom/c.jpg"]
    assert faces.labels.tolist() == [2, 0, 1]
    assert set(faces.splits) == {"all"}
    assert faces.images.shape == (3, 48, 48)


@pytest.mark.parametrize("wrap", [lambda root: root, zipped], ids=["folder", "zip"])
def test_outer_folders_are_splits(tmp_path, wrap):
    folders = ["train", "val", "Valid", "validation", "test", "public", "private"]
    root = write(tmp_path / "set", *[f"{folder}/{e}/1.png" for folder in folders for e in ("sad", "fear")])
    faces = load_image_folder(wrap(root))
    found = {name.split("/")[0]: split for name, split in zip(faces.names, faces.splits, strict=True)}
    assert found == {
        "train": "train", "val": "validation", "Valid": "validation", "validation": "validation",
        "test": "test", "public": "public", "private": "private",
    }  # fmt: skip


@pytest.mark.parametrize("known", [FER2013, FERPLUS, CKPLUS])
def test_emotions_of_a_known_set_keep_its_order(tmp_path, known):
    faces = load_image_folder(write(tmp_path, *[f"{name}/1.png" for name in sorted(known)]))
    assert faces.label_names == known


def test_label_names_set_the_order_and_foreign_folders_are_errors(tmp_path):
    write(tmp_path, "sad/1.png", "happy/2.png", "bored/3.png")
    wanted = ["Happiness", "sadness", "neutral"]
    with pytest.raises(DataError, match="bored/3.png: its emotion 'bored' is not one of happy, sad, neutral"):
        load_image_folder(tmp_path, label_names=wanted)
    faces = load_image_folder(tmp_path, label_names=wanted, on_error="skip")
    assert faces.label_names == ("happy", "sad", "neutral")
    assert faces.labels.tolist() == [0, 1]
    assert [name for name, _ in faces.skipped] == ["bored/3.png"]
    with pytest.raises(ValueError, match="more than once"):
        load_image_folder(tmp_path, label_names=["happy", "joy"])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_images_are_upright_and_resized_as_pillow_does(tmp_path, channels, stream):
    path = tmp_path / "happy/turned.png"
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    Image.fromarray(noise(0, (60, 70, 3))).save(path, exif=exif)
    faces = load_image_folder(tmp_path, size=(20, 30), channels=channels, stream=stream)
    upright = Image.fromarray(np.rot90(noise(0, (60, 70, 3)), -1).copy())
    expected = upright.convert("L" if channels == 1 else "RGB").resize((30, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(faces.images[:], [np.asarray(expected)])
    assert load_image(path).size == (60, 70)


def test_streamed_images_equal_those_in_memory_and_stay_unread(tmp_path):
    root = write(
        tmp_path, *[f"{split}/{e}/{i}.png" for split in ("train", "test") for e in FER2013 for i in "12"]
    )
    memory, streamed = load_image_folder(root), load_image_folder(root, stream=True)
    assert isinstance(streamed.images, ImageFiles)
    assert streamed.images.shape == memory.images.shape
    np.testing.assert_array_equal(streamed.images[:], memory.images)
    for column in ("labels", "names", "splits"):
        np.testing.assert_array_equal(getattr(streamed, column), getattr(memory, column))
    np.testing.assert_array_equal(streamed.split("test").images[::3], memory.split("test").images[::3])
    with pytest.raises(ValueError, match="stream=True needs a folder"):
        load_image_folder(zipped(root), stream=True)


def test_streaming_reports_foreign_files_early_and_damage_on_reading(tmp_path):
    write(tmp_path, "happy/1.png", "sad/2.png")
    whole = (tmp_path / "sad/2.png").read_bytes()
    (tmp_path / "sad/2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="sad/2.png: not an image"):
        load_image_folder(tmp_path, stream=True)
    assert len(load_image_folder(tmp_path, stream=True, on_error="skip").skipped) == 1
    (tmp_path / "sad/2.png").write_bytes(whole[: len(whole) // 2])
    faces = load_image_folder(tmp_path, stream=True)
    with pytest.raises(ImageError, match=r"2\.png"):
        faces.images[[1]]
    with pytest.raises(DataError, match="sad/2.png: not a complete image"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sad/1.png", "train/sad/2.png"], r"at one depth; there is sad/1\.png, train/sad/2\.png"),
        (["1.png"], r"at one depth; there is 1\.png"),
        ([], "there is no image"),
        (["sad/1.png", "2.png"], r"2\.png: it is 0 folders deep; the others are 1"),
        (["train/sad/1.png", "fold1/sad/2.png"], "the folder 'fold1' is not one of the splits"),
        (["fold1/sad/1.png", "fold2/sad/2.png"], "the folders fold1, fold2 are neither splits nor emotions"),
        (["happy/1.png", "surprrise/2.png"], r"'surprrise' is not an emotion; 'surprise' is.*--labels"),
    ],
)
def test_other_layouts_explain_what_is_expected(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        load_image_folder(write(tmp_path, *names))


def test_image_files_refuse_impossible_sizes_and_channels():
    for options in ({"channels": 2}, {"size": (0, 4)}, {"size": (4,)}):
        with pytest.raises(ValueError, match=r"size is|channels is"):
            ImageFiles((), **options)
    assert ImageFiles(())[[]].shape == (0, 48, 48)


def test_linked_folders_are_followed_once(tmp_path):
    write(tmp_path / "elsewhere", "sad/1.png")
    (tmp_path / "set/happy").mkdir(parents=True)
    save(tmp_path / "set/happy/2.png", noise(0))
    (tmp_path / "set/sad").symlink_to(tmp_path / "elsewhere/sad")
    (tmp_path / "set/happy/loop").symlink_to(tmp_path / "set")
    assert load_image_folder(tmp_path / "set").names.tolist() == ["happy/2.png", "sad/1.png"]
