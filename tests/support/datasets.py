"""Writers of tiny data sets, each in the exact layout of the real one."""

import zipfile

import numpy as np
from PIL import Image

from fer_attention.emotions import FER2013

VOTES_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
USAGES = ("Training", "Training", "PublicTest", "PrivateTest")


def noise(seed, size=(48, 48)):
    """A picture that differs from seed to seed: uint8 of the size."""
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def zipped(root):
    path = root.with_name(f"{root.name}.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in root.rglob("*.*"):
            archive.write(file, file.relative_to(root))
    return path


def write_kaggle(root):
    """Two images per emotion for training, one for each test split, in the layout of the Kaggle copies."""
    number = 0
    for folder, prefixes in (("train", ["Training"] * 2), ("test", ["PublicTest", "PrivateTest"])):
        for emotion in FER2013:
            for prefix in prefixes:
                number += 1
                save(root / folder / emotion / f"{prefix}_{number}.png", noise(number))
    return root


def cell(pixels):
    return " ".join(map(str, np.ravel(pixels).tolist()))


def write_fer2013_csv(path, *, usages=USAGES, emotions=None):
    """`fer2013.csv`: row i shows noise(i), of emotion i modulo 7 unless told."""
    codes = emotions or [number % 7 for number in range(len(usages))]
    rows = (
        f"{code},{cell(noise(i))},{usage}" for i, (code, usage) in enumerate(zip(codes, usages, strict=True))
    )
    return write_text(path, "emotion,pixels,Usage", *rows)


def write_votes(path, votes, *, usages=None, removed=()):
    """`fer2013new.csv` with a row of ten votes each; the rows `removed`, from 0, have no image name."""
    rows = (
        f"{usage},{'' if i in removed else f'fer{i:07}.png'},{','.join(map(str, counts))}"
        for i, (counts, usage) in enumerate(zip(votes, usages or ["Training"] * len(votes), strict=True))
    )
    return write_text(path, VOTES_HEADER, *rows)


def write_named_votes(path, *rows, ferplus_rows=None):
    """A table of votes that names files: rows of (label, file, ten votes), with FER+'s rows if told."""
    lines = []
    for i, (label, file, counts) in enumerate(rows):
        number = "" if ferplus_rows is None else f"{ferplus_rows[i]},"
        lines.append(f"{file.split('_')[0]},{label},{file},{number}{','.join(map(str, counts))}")
    names = "usage,label,file," if ferplus_rows is None else "usage,label,file,ferplus_row,"
    return write_text(path, names + VOTES_HEADER.split(",", 2)[2], *lines)


def write_ck48(root):
    """`CK+48`: the last three frames of three sequences of two people."""
    for number, (emotion, sequence) in enumerate(
        [("anger", "S010_004"), ("contempt", "S138_008"), ("happy", "S010_006")]
    ):
        for frame in (12, 13, 14):
            save(root / "CK+48" / emotion / f"{sequence}_{frame:08}.png", noise(10 * number + frame))
    return root


def write_original_ck(root, *, size=(490, 640)):
    """The original release of CK+: two labelled sequences (surprise, contempt) and one without a label."""
    codes = {"S005/001": 7, "S010/002": 2, "S010/003": None}
    for number, (place, code) in enumerate(codes.items()):
        sequence = place.replace("/", "_")
        for frame in range(1, 6):
            pixels = np.full(size, 40 * number + frame, np.uint8)
            save(root / "cohn-kanade-images" / place / f"{sequence}_{frame:08}.png", pixels)
        if code is not None:
            write_text(root / "Emotion" / place / f"{sequence}_{5:08}_emotion.txt", f"   {code}.0000000e+00")
    (root / "cohn-kanade-images/.DS_Store").write_bytes(b"not an image")
    return root


def write_rafdb(root):
    """Six images of RAF-DB's basic emotions, as released: the list, originals and aligned images."""
    lines = []
    for number, (part, code) in enumerate([("train", c) for c in (5, 1, 4, 7)] + [("test", 2), ("test", 6)]):
        lines.append(f"{part}_{number:05}.jpg {code}")
        save(root / f"basic/Image/original/{part}_{number:05}.png", noise(number, (60, 50, 3)))
        save(root / f"basic/Image/aligned/{part}_{number:05}_aligned.png", noise(50 + number, (100, 100, 3)))
    write_text(root / "basic/EmoLabel/list_patition_label.txt", *lines)
    return root


AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def write_affectnet(root):
    """Eleven training images, one of each code, and two for validation."""
    for table, codes in (("training", range(11)), ("validation", (6, 7))):
        lines = []
        for code in codes:
            name = f"{code}/{table}{code}.png"
            save(root / "Manually_Annotated_Images" / name, noise(code, (60, 60, 3)))
            lines.append(f"{name},1,1,50,50,1.5;2.5,{code},0.1,-0.2")
        write_text(root / f"Manually_Annotated_file_lists/{table}.csv", AFFECTNET_HEADER, *lines)
    return root


def write_table(root):
    """Images in one folder, with a table of their names, emotions and splits."""
    rows = []
    for number, (emotion, split) in enumerate(
        [("Happiness", "Train"), ("surprised", "train"), ("sad", "TEST")]
    ):
        save(root / f"faces/{number}.png", noise(number))
        rows.append(f"{number}.png,{emotion},{split}")
    write_text(root / "labels.csv", "filename,label,split", *rows)
    return root


def write_jaffe(root, *, suffix=".tiff"):
    """A photo of each emotion of two women, 256×256."""
    for number, subject in enumerate(["KA", "YM"]):
        for index, code in enumerate(["AN", "DI", "FE", "HA", "NE", "SA", "SU"]):
            save(root / f"{subject}.{code}1.{10 * number + index}{suffix}", noise(index, (256, 256)))
    return root
