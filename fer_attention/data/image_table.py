"""Image files named in a table: any CSV file with names and labels, RAF-DB's list, AffectNet's lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fer_attention.data.items import ImageForm, Item, read_items
from fer_attention.data.labels import CODES, LabelMap, Labels, understand
from fer_attention.data.loading import reader
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import Crop, OnError, PathLike, Rows, Source, is_table_name, open_source
from fer_attention.data.splits import split_of
from fer_attention.data.tables import Row, find_tables, table_rows
from fer_attention.data.trees import find_tree, is_emotion
from fer_attention.data.votes import VOTE_COLUMNS
from fer_attention.emotions import AFFECTNET, RAFDB
from fer_attention.faces.photo_files import is_image_name

RAFDB_LIST = "list_patition_label.txt"
_AFFECTNET = ("subdirectory_filepath", "expression")


@dataclass(frozen=True)
class Files:
    """Image files of a source, found by the names that a table gives them.

    Attributes:
        by_file_name: Names in the source by file name without suffix, in lower case.
    """

    by_file_name: dict[str, list[str]]

    @classmethod
    def of(cls, source: Source) -> Files:
        """Index the images of a source."""
        found = defaultdict(list)
        for name in source.images():
            found[PurePosixPath(name).stem.lower()].append(name)
        return cls(dict(found))

    def find(self, text: str) -> str:
        """Return the image that a table means by a path, as far as it is in the source, or by a file name.

        Raises:
            DataError: There is no such file, or there are several.
        """
        wanted = PurePosixPath(text.replace("\\", "/"))
        stem = wanted.stem if is_image_name(wanted.name) else wanted.name
        fitting = self.by_file_name.get(stem.lower(), [])
        if len(fitting) > 1:
            ending = "/" + str(wanted).lower().lstrip("./")
            fitting = [name for name in fitting if f"/{name}".lower().endswith(ending)] or fitting
        if len(fitting) != 1:
            several = f"there are several: {', '.join(fitting[:2])}" if fitting else "there is no such image"
            raise DataError(f"the file {text[:80]!r}: {several}.")
        return fitting[0]


@reader(
    "table",
    recognises=lambda source: bool(_image_tables(source)) and not _has_emotion_folders(source),
    layout="a table with the columns file and label, and optionally split, beside the images",
    rank=1,
)
def load_table(
    path: PathLike,
    *,
    size: tuple[int, int] = (48, 48),
    channels: int = 1,
    crop: Crop | None = None,
    stream: bool = False,
    labels: Labels | None = None,
    on_error: OnError = "raise",
) -> FaceDataset:
    r"""Load the images that a table names, with its labels.

    A column `split` (or `usage`) gives the splits; without it the name of the table does, as `train.csv`, and
    otherwise the set has none.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a", "b"):
    ...         Image.new("L", (60, 60)).save(Path(folder) / f"{name}.png")
    ...     _ = (Path(folder) / "labels.csv").write_text("file,label\na.png,happy\nb.png,sad\n")
    ...     faces = load_table(folder)
    >>> faces.names.tolist(), [faces.label_names[label] for label in faces.labels]
    (['a.png', 'b.png'], ['happy', 'sad'])

    Args:
        path: A folder or archive of images and one or more tables, or a table whose images are in its folder.
        size: (H, W) that every image is resized to, pixels.
        channels: 1 grey, 3 RGB.
        crop: Cuts the face out of a photo before, for instance a `fer_attention.faces.FaceCropper`.
        stream: Whether the images stay on the disk until their rows are asked for, as `ImageFiles`.
        labels: Emotions by label, for names and numbers that are not understood; None leaves a label out.
        on_error: `"raise"` if rows or files cannot be used, or `"skip"` them and list them in `skipped`.

    Raises:
        DataError: Nothing is there, a named file is missing or damaged, or the labels are not understood.
        ValueError: The size or channels cannot be, or streamed images are in an archive or to be cropped.
    """
    form, rows = ImageForm(size, channels, stream, crop), Rows(path, on_error)
    with _opened(path) as (source, tables):
        form.check_source(source, path)
        items = _items(source, rows, tables or _image_tables(source), ("file", "emotion"))
        emotions = understand((item.label for item in items), labels)
        missing = f"No image in a table under {path}: expected columns file and label"
        return read_items(source, rows, items, emotions, form, missing=missing)


@reader(
    "rafdb",
    recognises=lambda source: bool(source.named(RAFDB_LIST)),
    layout=f"EmoLabel/{RAFDB_LIST} and Image/aligned/",
)
def load_rafdb(
    path: PathLike,
    *,
    size: tuple[int, int] = (100, 100),
    channels: int = 3,
    crop: Crop | None = None,
    stream: bool = False,
    on_error: OnError = "raise",
) -> FaceDataset:
    """Load RAF-DB's basic emotions (Li et al. 2017, CVPR, 2584-2593): 12,271 training and 3,068 test images.

    Lines of the list are `train_00001.jpg 5`; the codes 1 to 7 are surprise, fear, disgust, happy, sad, angry
    and neutral (http://www.whdeng.cn/RAF/model1.html). The aligned images are taken where they are there.

    >>> load_rafdb("RAF-DB/basic").split("test").images.shape  # doctest: +SKIP
    (3068, 100, 100, 3)

    Args:
        path: The folder `basic`, or an archive of it, with the list and the images in any of its folders.
        size: (H, W) that every image is resized to, pixels; aligned ones have 100×100.
        channels: 1 grey, 3 RGB.
        crop: As of `load_table`.
        stream: As there.
        on_error: As there.

    Raises:
        DataError: The list or an image is missing or damaged.
        ValueError: As of `load_table`.
    """
    form, rows = ImageForm(size, channels, stream, crop), Rows(path, on_error)
    with _opened(path) as (source, _):
        form.check_source(source, path)
        items = _items(source, rows, source.named(RAFDB_LIST), ("file", "emotion"), suffix="_aligned")
        missing = f"No image of RAF-DB under {path}: expected {RAFDB_LIST} and its images"
        labels = LabelMap(CODES["rafdb"], RAFDB)
        return read_items(source, rows, items, labels, form, label_names=RAFDB, missing=missing)


@reader(
    "affectnet",
    recognises=lambda source: any(_has_columns(source, name, _AFFECTNET) for name in find_tables(source)),
    layout="training.csv or validation.csv with the columns subDirectory_filePath and expression",
)
def load_affectnet(
    path: PathLike,
    *,
    size: tuple[int, int] = (48, 48),
    channels: int = 3,
    crop: Crop | None = None,
    stream: bool = False,
    on_error: OnError = "raise",
) -> FaceDataset:
    """Load AffectNet (Mollahosseini et al. 2017, arXiv:1708.03985) by its lists of files.

    The codes 0 to 7 are neutral, happy, sad, surprise, fear, disgust, angry and contempt. Images without an
    expression, codes 8 to 10 (none, uncertain, no face), are listed in `skipped` for any `on_error`. The
    authors' test images are not published, and `validation.csv` is what others report: it becomes the split
    `test`, so that nothing selects an epoch on it.

    >>> faces = load_affectnet("AffectNet/")  # doctest: +SKIP

    Args:
        path: The folder of the lists and images, or an archive of it.
        size: (H, W) that every image is resized to, pixels.
        channels: 1 grey, 3 RGB.
        crop: As of `load_table`.
        stream: As there; the whole set does not fit into memory at large sizes.
        on_error: As there.

    Raises:
        DataError: A list or an image is missing or damaged.
        ValueError: As of `load_table`.
    """
    form, rows = ImageForm(size, channels, stream, crop), Rows(path, on_error)
    with _opened(path) as (source, tables):
        form.check_source(source, path)
        lists = tables or [name for name in find_tables(source) if _has_columns(source, name, _AFFECTNET)]
        items = _items(source, rows, lists, _AFFECTNET)
        reported = [
            Item(item.name, item.label, "test" if item.split == "validation" else item.split)
            for item in items
        ]
        missing = f"No image of AffectNet under {path}: expected training.csv or validation.csv"
        labels = LabelMap(CODES["affectnet"], AFFECTNET)
        return read_items(source, rows, reported, labels, form, label_names=AFFECTNET, missing=missing)


@contextmanager
def _opened(path: PathLike) -> Iterator[tuple[Source, list[str]]]:
    """Open the source of a path; of a lone table its folder, with the name of the table."""
    place = Path(path)
    if place.is_file() and is_table_name(place.name):
        with open_source(place.parent) as source:
            yield source, [place.name]
    else:
        with open_source(path, expected="Expected images and a table of their labels.") as source:
            yield source, []


def _items(
    source: Source, rows: Rows, tables: Iterable[str], columns: tuple[str, str], *, suffix: str = ""
) -> list[Item]:
    """Return the images of tables: files with `suffix` after their stem are preferred."""
    files, items, named = Files.of(source), [], set[str]()
    for table in tables:
        of_table = split_of(PurePosixPath(table).stem)
        for row in table_rows(source, table, needed=columns, optional=("usage",)):
            with rows.reading(f"{table}: row {row.number}"):
                text, label = row[columns[0]], row[columns[1]]
                item = Item(_file(files, text, suffix), label, _split(row, text, of_table))
                if item.name in named:
                    raise DataError(f"{item.name} is listed twice.")
                named.add(item.name)
                items.append(item)
    return items


def _file(files: Files, text: str, suffix: str) -> str:
    path = PurePosixPath(text)
    preferred = f"{path.stem}{suffix}".lower()
    return files.find(preferred if suffix and preferred in files.by_file_name else text)


def _split(row: Row, text: str, of_table: str | None) -> str:
    """Return the split by the row's own cell, the name of its table, or the start of its file's name."""
    of_file = split_of(PurePosixPath(text).name.split("_")[0])
    return row.split(of_table or of_file or "all")


def _image_tables(source: Source) -> list[str]:
    """Return the tables of a source with a file and a label in each row, whose first file is there."""
    files = Files.of(_beside(source))
    found = []
    for name in find_tables(source):
        try:
            first = next(table_rows(source, name, needed=("file", "emotion"), optional=("usage",)), None)
            if first is not None and not set(VOTE_COLUMNS) <= first.columns.keys():
                files.find(first["file"])
                found.append(name)
        except DataError:
            continue
    return found


def _beside(source: Source) -> Source:
    """Return the source itself, or the folder of a lone table."""
    if not source.path.is_file() or not is_table_name(source.path.name):
        return source
    with open_source(source.path.parent) as folder:
        return folder


def _has_columns(source: Source, name: str, columns: tuple[str, ...]) -> bool:
    try:
        return next(table_rows(source, name, needed=columns), None) is not None
    except DataError:
        return False


def _has_emotion_folders(source: Source) -> bool:
    try:
        tree = find_tree(source)
        return all(is_emotion(tree.place(name)[0]) for name in source.images())
    except DataError:
        return False
