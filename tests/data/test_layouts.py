"""Layouts, labels and splits as people bring them: each is read rightly, or refused in one helpful line."""

import tarfile
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.data import DataError, describe, load_data
from fer_attention.data.splits import split_of
from fer_attention.emotions import AFFECTNET, CKPLUS, FER2013, RAFDB
from tests.support.datasets import (
    cell,
    noise,
    save,
    write_affectnet,
    write_fer2013_csv,
    write_kaggle,
    write_rafdb,
    write_table,
    write_text,
    zipped,
)

HAPPY, SAD = "happy", "sad"
RAFDB_ROWS = [
    *[(emotion, "train") for emotion in ("sad", "surprise", "happy", "neutral")],
    *[("fear", "test"), ("angry", "test")],
]


def tree(*names):
    def write(root):
        for number, name in enumerate(names):
            save(root / name, noise(number))
        return root

    return write


def pixels(header, *rows, name="fer2013.csv", encoding="utf-8"):
    """A table of pixels; `#` in a row stands for the pixels of an image."""

    def write(root):
        lines = [header] if header else []
        lines += [row.replace("#", cell(noise(number))) for number, row in enumerate(rows)]
        root.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("\n".join(lines) + "\n", encoding=encoding)
        return root / name

    return write


def tarred(write, suffix=".tar.gz"):
    def pack(root):
        write(root)
        path = root.with_name(f"{root.name}{suffix}")
        with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
            archive.add(root, root.name)
        return path

    return pack


def backslashed(root):
    """A zip with the separators that some programs on Windows write."""
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in root.rglob("*.png"):
            archive.writestr(str(file.relative_to(root)).replace("/", "\\"), file.read_bytes())
    return path


def in_zip(write):
    return lambda root: zipped(write(root))


JUNK = [
    f"{junk}/happy/9.png"
    for junk in (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash-1000", ".thumbnails", "#recycle")
] + [f"happy/{junk}/9.png" for junk in (".ipynb_checkpoints", "@eaDir", "__MACOSX/a", ".thumbnails")]

SEVEN = {str(code): emotion for code, emotion in enumerate(FER2013)}
RAF = {str(code): emotion for code, emotion in enumerate(RAFDB, 1)}

LAYOUTS = {
    "Training/Testing": (
        tree("Training/happy/1.png", "Testing/sad/2.png"), [(HAPPY, "train"), (SAD, "test")],
    ),
    "Training/PublicTest/PrivateTest": (
        tree("Training/happy/1.png", "PublicTest/sad/2.png", "PrivateTest/sad/3.png"),
        [(HAPPY, "train"), (SAD, "public"), (SAD, "private")],
    ),
    "FER2013Train/Valid/Test": (
        tree("FER2013Train/happy/1.png", "FER2013Valid/sad/2.png", "FER2013Test/sad/3.png"),
        [(HAPPY, "train"), (SAD, "validation"), (SAD, "test")],
    ),
    "trainset": (
        tree("trainset/happy/1.png", "test_set/sad/2.png"), [(HAPPY, "train"), (SAD, "test")],
    ),
    "images/train": (
        tree("images/train/happy/1.png", "images/validation/sad/2.png"),
        [(HAPPY, "train"), (SAD, "validation")],
    ),
    "train/images": (
        tree("train/images/happy/1.png", "val/images/sad/2.png"), [(HAPPY, "train"), (SAD, "validation")],
    ),
    "an outer folder": (tree("faces/happy/1.png", "faces/sad/2.png"), [(HAPPY, "all"), (SAD, "all")]),
    "an outer folder in a zip": (
        in_zip(tree("my set/train/happy/1.png", "my set/test/sad/2.png")), [(HAPPY, "train"), (SAD, "test")],
    ),
    "emotion above split": (
        tree("happy/train/1.png", "sad/test/2.png"), [(HAPPY, "train"), (SAD, "test")],
    ),
    "a gzipped tar": (
        tarred(tree("train/happy/1.png", "test/sad/2.png")), [(HAPPY, "train"), (SAD, "test")],
    ),
    "a tar": (tarred(tree("happy/1.png", "sad/2.png"), ".tar"), [(HAPPY, "all"), (SAD, "all")]),
    "a gzipped tar of a table": (
        tarred(lambda root: pixels("emotion,pixels,Usage", "3,#,Training")(root)), [(HAPPY, "train")],
    ),
    "backslashes in a zip": (
        lambda root: backslashed(tree("train/happy/1.png", "test/sad/2.png")(root)),
        [(HAPPY, "train"), (SAD, "test")],
    ),
    "junk folders": (tree("happy/1.png", "sad/2.png", *JUNK), [(HAPPY, "all"), (SAD, "all")]),
    "junk folders in a zip": (
        in_zip(tree("train/happy/1.png", "train/sad/2.png", *(f"train/{name}" for name in JUNK))),
        [(HAPPY, "train"), (SAD, "train")],
    ),
    "numbers 0 to 6": (
        tree(*[f"train/{code}/{code}.png" for code in SEVEN]), [(e, "train") for e in SEVEN.values()],
    ),
    "numbers 1 to 7": (
        tree(*[f"test/{code}/{code}.png" for code in RAF]), [(e, "test") for e in RAF.values()],
    ),
    "numbered names": (tree("0_angry/1.png", "1-Happiness/2.png"), [("angry", "all"), (HAPPY, "all")]),
    "misspellings": (
        tree("Angery/1.png", "digust/2.png", "fearfull/3.png", "happines/4.png"),
        [("angry", "all"), ("disgust", "all"), ("fear", "all"), (HAPPY, "all")],
    ),
    "label as a decimal": (pixels("emotion,pixels,Usage", "3.0,#,Training"), [(HAPPY, "train")]),
    "label as a name": (pixels("emotion,pixels,Usage", "Happiness,#,Training"), [(HAPPY, "train")]),
    "usage in any case": (
        pixels("Emotion,Pixels,USAGE", "3,#,training", "4,#,PUBLICTEST", "4,#,Private Test"),
        [(HAPPY, "train"), (SAD, "public"), (SAD, "private")],
    ),
    "semicolons": (pixels("emotion;pixels;Usage", "3;#;Training"), [(HAPPY, "train")]),
    "semicolons and decimal commas": (pixels("emotion;pixels;Usage", "3,0;#;Training"), [(HAPPY, "train")]),
    "tabs": (pixels("emotion\tpixels\tUsage", "3\t#\tTraining", name="faces.tsv"), [(HAPPY, "train")]),
    "UTF-16": (pixels("emotion,pixels,Usage", "3,#,Training", encoding="utf-16"), [(HAPPY, "train")]),
    "UTF-16 without a mark": (
        pixels("emotion,pixels,Usage", "3,#,Training", encoding="utf-16-le"), [(HAPPY, "train")],
    ),
    "a byte order mark": (
        pixels("emotion,pixels,Usage", "3,#,Training", encoding="utf-8-sig"), [(HAPPY, "train")],
    ),
    "no header": (
        pixels("", "3,#,Training", "4,#,PublicTest"), [(HAPPY, "train"), (SAD, "public")],
    ),
    "no header, another order": (pixels("", "Training,#,3"), [(HAPPY, "train")]),
    "RAF-DB": (write_rafdb, RAFDB_ROWS),
    "RAF-DB in a zip": (in_zip(write_rafdb), RAFDB_ROWS),
    "AffectNet": (
        write_affectnet, [*[(e, "train") for e in AFFECTNET], ("angry", "test"), ("contempt", "test")],
    ),
    "a table of files": (write_table, [(HAPPY, "train"), ("surprise", "train"), (SAD, "test")]),
    "the path of a table of files": (
        lambda root: write_table(root) / "labels.csv",
        [(HAPPY, "train"), ("surprise", "train"), (SAD, "test")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_and_splits_are_understood(tmp_path, layout):
    write, expected = LAYOUTS[layout]
    faces = load_data(write(tmp_path / "set"))
    found = [
        (faces.label_names[label], split) for label, split in zip(faces.labels, faces.splits, strict=True)
    ]
    assert sorted(found) == sorted(expected)
    assert len(set(faces.names.tolist())) == len(faces)
    assert describe(faces).startswith(faces.layout)


def test_junk_folders_do_not_take_the_label_order(tmp_path):
    write = tree(*[f"{emotion}/1.png" for emotion in FER2013], ".Trash-1000/1.png", "@eaDir/happy/1.png")
    assert load_data(write(tmp_path)).label_names == FER2013


def test_aligned_images_of_rafdb_are_preferred(tmp_path):
    faces = load_data(write_rafdb(tmp_path))
    np.testing.assert_array_equal(faces.images, [noise(50 + number, (100, 100, 3)) for number in range(6)])
    assert faces.label_names == RAFDB


def test_affectnet_lists_images_without_an_expression(tmp_path):
    faces = load_data(write_affectnet(tmp_path))
    assert [name.rsplit("/", 1)[1] for name, _ in faces.skipped] == [f"training{n}.png" for n in (8, 9, 10)]
    streamed = load_data(tmp_path, stream=True)
    np.testing.assert_array_equal(streamed.images[:], faces.images)


REFUSED = {
    "numbers of an unknown order": (
        tree(*[f"{code}/1.png" for code in range(8)]),
        r"numbers of an unknown order: 0, 1, 2, 3, 4, 5, 6, 7\. Name it .*ferplus.*affectnet",
    ),
    "some of the numbers": (tree("0/1.png", "3/2.png"), "numbers of an unknown order: 0, 3"),
    "two depths": (
        tree("happy/1.png", "train/sad/2.png"), r"at one depth; there is happy/1\.png, train/sad/2\.png",
    ),
    "a missing file": (
        lambda root: (write_table(root) / "faces/1.png").unlink() or root,
        r"row 2: the file '1\.png'.*no such",
    ),
    "a file that is listed twice": (
        lambda root: write_text(write_table(root) / "labels.csv", "file,label", *["0.png,sad"] * 2).parent,
        r"row 2: faces/0\.png is listed twice",
    ),
    "a truncated tar": (
        lambda root: truncated(tarred(tree(*[f"happy/{n}.png" for n in range(40)]))(root)),
        "whole tar archive",
    ),
    "a tar that leaves its folder": (
        lambda root: escaping(root.with_suffix(".tar")), "no known layout. Files there: 0",
    ),
}  # fmt: skip


def truncated(path):
    path.write_bytes(path.read_bytes()[:30_000])
    return path


def escaping(path):
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "../outside.png")
    return path


@pytest.mark.parametrize("layout", REFUSED)
def test_what_cannot_be_understood_is_refused_in_a_line(tmp_path, layout):
    write, message = REFUSED[layout]
    with pytest.raises(DataError, match=message) as error:
        load_data(write(tmp_path / "set"))
    assert "\n" not in str(error.value)
    assert not (tmp_path.parent / "outside.png").exists()


def test_skipping_is_advised_only_where_few_files_are_concerned(tmp_path):
    for number in range(40):
        save(tmp_path / f"happy/{number}.png", noise(number))
    for number in range(2):
        (tmp_path / f"happy/{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 of the first 40 files cannot be used. Pass on_error='skip'"):
        load_data(tmp_path)
    for number in range(30):
        (tmp_path / f"happy/{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"21 of the first 40 files cannot be used\.$"):
        load_data(tmp_path)
    assert len(load_data(tmp_path, on_error="skip")) == 10


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("affectnet", [*AFFECTNET]),
        ("ferplus", ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"]),
        ({"0": "Happiness", 1: "boredom", "2": None, **{n: "sad" for n in range(3, 8)}},
         ["happy", "boredom", *["sad"] * 5]),
    ],
)  # fmt: skip
def test_a_label_map_names_the_emotions(tmp_path, labels, expected):
    tree(*[f"{code}/{code}.png" for code in range(8)])(tmp_path)
    faces = load_data(tmp_path, labels=labels)
    assert [faces.label_names[label] for label in faces.labels] == expected
    assert len(faces.skipped) == 8 - len(expected)


def test_a_label_map_also_changes_sets_with_known_labels(tmp_path):
    faces = load_data(write_kaggle(tmp_path), labels={"disgust": "angry", "neutral": None})
    assert set(faces.label_names) == {*FER2013} - {"disgust", "neutral"}
    assert len(faces) == 4 * 6
    table = write_fer2013_csv(tmp_path / "fer2013.csv", emotions=[1, 2, 3, 4])
    ck = load_data(table, labels={"1": "happy", "2": None, "3": "sad", "4": "sad"})
    assert [ck.label_names[label] for label in ck.labels] == ["happy", "sad", "sad"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0: [a]", r"map.yaml: 0 is mapped to \['a'\]; it must be an emotion"),
        ("a: null", "maps no label to an emotion"),
        ("- a", "must hold named fields"),
        ("a: b: c", "is not valid YAML"),
    ],
)
def test_damaged_label_maps_are_refused(tmp_path, text, message):
    tree("happy/1.png")(tmp_path / "set")
    with pytest.raises(DataError, match=message):
        load_data(tmp_path / "set", labels=write_text(tmp_path / "map.yaml", text))
    with pytest.raises(ValueError, match=r"Unknown label order.*'affectnett'. Did you mean 'affectnet'"):
        load_data(tmp_path / "set", labels="affectnett")


def test_commands_take_a_label_map_and_print_what_was_understood(tmp_path):
    tree("joyous/1.png", "joyous/2.png", "down/3.png", "down/4.png")(tmp_path / "set")
    labels = write_text(tmp_path / "map.yaml", "joyous: happy", "down: sad")
    result = CliRunner().invoke(app, ["data", "audit", str(tmp_path / "set"), "--labels", str(labels)])
    assert result.exit_code == 0, result.output
    [line] = [line for line in result.stderr.splitlines() if line.startswith("set:")]
    assert line == "set: folder; down = sad, joyous = happy; 4 images; labels: happy, sad"


@pytest.mark.parametrize(
    ("text", "split"),
    [("train", "train"), ("TRAINING", "train"), ("Validation Set", "validation"), ("dev", "validation"),
     ("testing_images", "test"), ("FER2013Test", "test"), ("private_test", "private"), ("happy", None),
     ("fer2013", None), ("set", None), ("", None), ("trained", None)],
)  # fmt: skip
def test_names_of_splits_are_understood(text, split):
    assert split_of(text) == split


@pytest.mark.data
def test_the_real_fer2013_is_described(real_fer2013):
    assert describe(real_fer2013) == (
        "fer2013; 35,887 images: 28,709 train, 3,589 public, 3,589 private; labels: " + ", ".join(FER2013)
    )


def test_ck_codes_are_those_of_the_release(tmp_path):
    tree(*[f"{code}/{code}.png" for code in range(8)])(tmp_path)
    faces = load_data(tmp_path, labels="ckplus")
    assert [faces.label_names[label] for label in faces.labels] == ["neutral", *CKPLUS]
