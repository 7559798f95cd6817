"""Crops of folder trees of photos, and their manifest."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from fer_attention.data import load_data
from fer_attention.faces import CropRule, QualityFilter, crop_face
from fer_attention.faces.folders import FolderError, FolderOptions, crop_folder
from fer_attention.faces.folders.manifest import COLUMNS, write_manifest

BLANK = np.full((60, 80, 3), 90, np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def rows_of(result):
    with result.manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def files_below(folder):
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in files if not name.startswith(".faces.jsonl"))


@pytest.fixture
def photos(tmp_path, astronaut):
    """Two emotions with one face each, a photo without a face, and a text file."""
    folder = tmp_path / "photos"
    save(folder / "happy" / "one.jpg", astronaut[:300, 100:400])
    save(folder / "sad" / "two.png", astronaut[:300, 80:380])
    save(folder / "sad" / "wall.png", BLANK)
    (folder / "notes.txt").write_text("not a photo")
    return folder


def run(photos, tmp_path, **options):
    return crop_folder(photos, tmp_path / "crops", FolderOptions(**options), device="cpu")


def test_the_tree_of_photos_becomes_the_same_tree_of_crops(photos, tmp_path):
    result = run(photos, tmp_path)
    crops = tmp_path / "crops"
    assert files_below(crops) == ["happy/one.png", "manifest.csv", "sad/two.png"]
    assert (result.photos, result.crops) == (3, 2)
    assert result.without_face == ["sad/wall.png"]
    assert result.not_images == ["notes.txt"]
    with Image.open(crops / "happy" / "one.png") as crop:
        assert (crop.size, crop.mode) == ((80, 80), "RGB")


def test_the_manifest_locates_each_crop_in_its_photo(photos, tmp_path):
    result = run(photos, tmp_path)
    rows = rows_of(result)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["source"], row["reason"], row["crop"]) for row in rows] == [
        ("happy/one.jpg", "", "happy/one.png"),
        ("notes.txt", "not an image", ""),
        ("sad/two.png", "", "sad/two.png"),
        ("sad/wall.png", "no face found", ""),
    ]
    face = rows[2]
    box = [float(face[name]) for name in ("x1", "y1", "x2", "y2")]
    with (
        Image.open(photos / "sad" / "two.png") as photo,
        Image.open(tmp_path / "crops" / face["crop"]) as crop,
    ):
        expected = np.asarray(crop_face(photo, box, size=80)).astype(int)
        assert np.abs(np.asarray(crop) - expected).max() <= 2  # the manifest's box is rounded
        assert (int(face["width"]), int(face["height"])) == photo.size
    eye = np.array([float(face["left_eye_x"]), float(face["left_eye_y"])])
    (a, b, c), (d, e, f) = ([float(face[name]) for name in names] for names in ("abc", "def"))
    x, y = np.linalg.inv([[a, b], [d, e]]) @ (eye - (c, f))
    assert 10 < x < 40
    assert 15 < y < 45
    assert float(face["score"]) > 0.9
    assert 0 < float(face["brightness"]) < 255


def test_the_crops_load_as_a_data_set(photos, tmp_path):
    run(photos, tmp_path, grey=True)
    data = load_data(tmp_path / "crops")
    assert data.label_names == ("happy", "sad")
    assert len(data) == 2


def test_grey_crops_have_one_channel(photos, tmp_path):
    run(photos, tmp_path, grey=True, size=48)
    with Image.open(tmp_path / "crops" / "happy" / "one.png") as crop:
        assert (crop.mode, crop.size) == ("L", (48, 48))


@pytest.mark.parametrize("shape", ["square", "box", "aligned"])
def test_every_crop_shape_has_the_requested_size(photos, tmp_path, shape):
    result = run(photos, tmp_path, rule=CropRule(shape=shape), missing="whole")
    assert result.crops == 3
    for row in result.rows:
        if row.crop:
            with Image.open(tmp_path / "crops" / row.crop) as crop:
                assert crop.size == (80, 80)


def test_a_photo_without_a_face_is_cut_whole_or_ends_the_run(photos, tmp_path):
    result = run(photos, tmp_path, missing="whole")
    [row] = [row for row in result.rows if row.source == "sad/wall.png"]
    assert row.reason == "no face found: the whole image"
    assert (row.crop, row.face) == ("sad/wall.png", None)
    with pytest.raises(FolderError, match=r"mtcnn found no face in sad/wall\.png"):
        crop_folder(photos, tmp_path / "strict", FolderOptions(missing="raise"), device="cpu")
    assert not (tmp_path / "strict" / "manifest.csv").exists()


def test_all_faces_of_a_photo_are_numbered(tmp_path, astronaut):
    face = astronaut[40:200, 150:310]
    pair = np.concatenate([face, astronaut[30:190, 140:300]], axis=1)
    save(tmp_path / "photos" / "pair.jpg", pair)
    result = run(tmp_path / "photos", tmp_path, faces="all")
    assert [row.crop for row in result.rows] == ["pair-1.png", "pair-2.png"]
    assert [row.face for row in result.rows] == [1, 2]
    central = crop_folder(
        tmp_path / "photos", tmp_path / "central", FolderOptions(faces="central"), device="cpu"
    )
    assert [row.crop for row in central.rows] == ["pair.png"]


def test_faces_that_fail_the_filter_are_listed_with_the_reason(photos, tmp_path):
    result = run(photos, tmp_path, quality=QualityFilter(min_size=2000))
    assert result.crops == 0
    assert [source for source, _ in result.filtered] == ["happy/one.jpg", "sad/two.png"]
    assert all(reason.endswith("below 2000") for _, reason in result.filtered)
    assert all(row.x1 is not None for row in result.rows if row.face)


def test_photos_that_differ_only_by_suffix_keep_it_in_their_crops(tmp_path, astronaut):
    for name in ("a.jpg", "a.png", "b.jpg"):
        save(tmp_path / "photos" / name, astronaut[:300, 100:400])
    run(tmp_path / "photos", tmp_path)
    assert files_below(tmp_path / "crops") == ["a.jpg.png", "a.png.png", "b.png", "manifest.csv"]


def test_photos_whose_printable_names_are_equal_have_crops_of_their_own(tmp_path, astronaut):
    folder = tmp_path / "photos"
    names = [b"\\xff.png", b"\xff.png", b"A.png", b"a.PNG", b"a.jpg"]  # the first one has a backslash
    try:
        for number, name in enumerate(names):
            os.rename(
                save(folder / "x.png", astronaut[number:300, 100:400]), os.fsencode(folder) + b"/" + name
            )
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    result = run(folder, tmp_path, detector="none")
    crops = [row.crop for row in result.rows]
    assert len({crop.lower() for crop in crops}) == 5
    assert all((tmp_path / "crops" / crop).is_file() for crop in crops)
    assert [row.crop for row in run(folder, tmp_path, detector="none").rows] == crops


def test_crops_of_whole_photos_do_not_replace_numbered_ones(tmp_path, astronaut):
    save(tmp_path / "photos" / "a.jpg", astronaut[:300, 100:400])
    save(tmp_path / "photos" / "a-1.jpg", BLANK)
    result = run(tmp_path / "photos", tmp_path, faces="all", missing="whole")
    assert [row.crop for row in result.rows] == ["a-1-0.png", "a-1.png"]


@pytest.mark.parametrize("faces", ["largest", "all"])
def test_long_names_are_shortened_and_stay_different(tmp_path, astronaut, faces):
    for ending in ("1", "2"):
        save(tmp_path / "photos" / ("é" * 120) / ("x" * 250 + ending + ".jpg"), astronaut[:300, 100:400])
    result = run(tmp_path / "photos", tmp_path, faces=faces)
    assert [row.source[-5:] for row in result.rows] == ["1.jpg", "2.jpg"]
    assert len({row.crop for row in result.rows}) == 2
    assert all((tmp_path / "crops" / row.crop).is_file() for row in result.rows)


def test_damaged_images_are_listed_with_a_reason_or_end_the_run(photos, tmp_path, astronaut):
    whole = save(photos / "happy" / "cut.jpg", astronaut[:300, :300]).read_bytes()
    (photos / "happy" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "happy" / "fake.jpg").write_text("hello")
    save(photos / "happy" / "huge.png", np.zeros((400, 300, 3), np.uint8))
    result = run(photos, tmp_path, max_pixels=100_000, on_error="skip")
    reasons = dict(result.unreadable)
    assert sorted(reasons) == ["happy/cut.jpg", "happy/fake.jpg", "happy/huge.png"]
    assert "truncated" in reasons["happy/cut.jpg"]
    assert str(photos) not in reasons["happy/cut.jpg"]  # the manifest can move
    assert "not an image" in reasons["happy/fake.jpg"]
    assert "300x400 pixels are more than the limit of 0.1 million" in reasons["happy/huge.png"]
    assert result.crops == 2
    with pytest.raises(FolderError, match=r"cut\.jpg.*--on-error skip"):
        crop_folder(photos, tmp_path / "strict", device="cpu")


def test_photos_of_every_mode_and_format_are_read(tmp_path, astronaut):
    folder = tmp_path / "photos"
    face = Image.fromarray(astronaut[:300, 100:400])
    folder.mkdir()
    face.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257).save(folder / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    face.rotate(90).save(folder / "turned.jpg", exif=exif)
    face.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", face.size)])
    face.convert("RGBA").save(folder / "clear.webp")
    face.save(folder / "no_suffix", "JPEG")
    result = run(folder, tmp_path)
    assert result.crops == result.photos == 6
    boxes = np.array([(row.x1, row.y1, row.x2, row.y2) for row in result.rows])
    assert np.abs(boxes - np.median(boxes, axis=0)).max() < 12


def test_file_names_with_quotes_or_invalid_utf8_are_supported(tmp_path, astronaut):
    folder = tmp_path / "photos"
    save(folder / 'quoted, "x" and\nbroken.png', astronaut[:300, 100:400])
    try:
        os.rename(os.fsencode(save(folder / "x.png", BLANK)), os.fsencode(folder) + b"/\xff\xe4.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for kind in ("csv", "parquet"):
        options = FolderOptions(missing="whole", manifest_format=kind)
        result = crop_folder(folder, tmp_path / kind, options, device="cpu")
        assert sorted(row.source for row in result.rows) == [
            r"\xff\xe4.png",
            'quoted, "x" and\nbroken.png',
        ]
        assert all((tmp_path / kind / row.crop).is_file() for row in result.rows)
    again = crop_folder(folder, tmp_path / "csv", FolderOptions(missing="whole"), device="cpu")
    assert [row["source"] for row in rows_of(again)] == [row.source for row in again.rows]


def test_a_single_photo_is_a_valid_source(photos, tmp_path):
    result = crop_folder(photos / "happy" / "one.jpg", tmp_path / "crops", device="cpu")
    assert files_below(tmp_path / "crops") == ["manifest.csv", "one.png"]
    assert result.rows[0].source == "one.jpg"


def test_parquet_and_csv_manifests_agree(photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    result = run(photos, tmp_path)
    other = crop_folder(photos, tmp_path / "other", FolderOptions(manifest_format="parquet"), device="cpu")
    table = parquet.read_table(other.manifest).to_pylist()
    text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table]
    assert text == rows_of(result)
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        write_manifest(tmp_path / "manifest.xlsx", [])


def test_an_output_folder_inside_the_source_is_not_read(photos):
    for _ in range(2):
        assert crop_folder(photos, photos / "crops", device="cpu").photos == 3
    with pytest.raises(ValueError, match="the same folder"):
        crop_folder(photos, photos)


def test_hidden_files_and_link_cycles_are_skipped_broken_links_listed(photos, tmp_path):
    save(photos / ".thumbs" / "x.png", BLANK)
    (photos / "sad" / "again").symlink_to(photos)
    (photos / "lost.png").symlink_to(photos / "absent.png")
    os.mkfifo(photos / "pipe.jpg")
    result = run(photos, tmp_path, on_error="skip")
    assert result.photos == 5
    assert [name for name, _ in result.unreadable] == ["lost.png", "pipe.jpg"]


def test_invalid_sources_and_outputs_are_refused(photos, tmp_path):
    for source, reason in ((tmp_path / "absent", "does not exist"), ("https://a.org/a.jpg", "curl -O")):
        with pytest.raises(FileNotFoundError, match=reason):
            crop_folder(source, tmp_path / "crops")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="contains no file"):
        crop_folder(tmp_path / "empty", tmp_path / "crops")
    with pytest.raises(ValueError, match="contains happy and no earlier run"):
        crop_folder(tmp_path / "photos" / "sad", photos)
    with pytest.raises(ValueError, match="workers is at least 1"):
        crop_folder(photos, tmp_path / "crops", workers=0)
