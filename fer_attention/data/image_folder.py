"""Folders of images, one an emotion: `<emotion>/*.jpg`, or `<split>/<emotion>/*.jpg`."""

from __future__ import annotations

from collections.abc import Sequence

from fer_attention.data.items import ImageForm, Item, read_items
from fer_attention.data.labels import Labels, understand
from fer_attention.data.loading import reader
from fer_attention.data.records import DataError, FaceDataset
from fer_attention.data.sources import OnError, PathLike, Rows, Source, open_source
from fer_attention.data.splits import SELECTION, TEST, TRAIN
from fer_attention.data.trees import LAYOUT, find_tree


def recognises(source: Source) -> bool:
    """Return whether the images lie in folders, of emotions or of splits with emotions."""
    try:
        find_tree(source)
    except DataError:
        return False
    return True


@reader("folder", recognises=recognises, layout=LAYOUT, rank=2, splits=("all", TRAIN, *SELECTION, *TEST))
def load_image_folder(
    path: PathLike,
    *,
    size: tuple[int, int] = (48, 48),
    channels: int = 1,
    label_names: Sequence[str] | None = None,
    labels: Labels | None = None,
    stream: bool = False,
    on_error: OnError = "raise",
) -> FaceDataset:
    """Load the images of a folder, upright and resized, labelled by the names of their folders.

    The names are emotions in any spelling that `emotions.canonical` knows, with or without a number
    (`0_angry`), other classes, or numbers: 0 to 6 are FER2013's and 1 to 7 RAF-DB's.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for emotion in ("happy", "sad"):
    ...         (Path(folder) / emotion).mkdir()
    ...         Image.new("L", (60, 60)).save(Path(folder) / emotion / "1.png")
    ...     faces = load_image_folder(folder)
    >>> faces.label_names, faces.names.tolist(), faces.images.shape
    (('happy', 'sad'), ['happy/1.png', 'sad/1.png'], (2, 48, 48))

    Args:
        path: The folder that holds those of the emotions or splits, or a zip or tar file of it.
        size: (H, W) that every image is resized to, pixels.
        channels: 1 grey, 3 RGB.
        label_names: The emotions in the wanted order, in any spelling. None takes the folders that hold
            images: in FER2013's, FER+'s or CK+'s order where they are exactly the emotions of that set, else
            sorted.
        labels: Emotions by folder, for names and numbers that are not understood; None leaves a folder out.
        stream: Whether the images stay on the disk until their rows are asked for, as `ImageFiles`. Each
            file is opened here all the same, so that foreign ones show early; but only its header is read, so
            that a file with a whole header and damaged pixels fails when its row is read.
        on_error: `"raise"` on files that cannot be used, or `"skip"` them and list them in `skipped`.

    Raises:
        DataError: Nothing is there, images lie at mixed depths, or a file is damaged or of no known emotion
            or split.
        ValueError: The size or channels cannot be, `label_names` repeats itself, or an archive is to be
            streamed.
    """
    form = ImageForm(size, channels, stream)
    rows = Rows(path, on_error)
    with open_source(path, expected=f"Expected {LAYOUT}.") as source:
        form.check_source(source, path)
        tree = find_tree(source)
        items = []
        for name in source.images():
            with rows.reading(name):
                items.append(Item(name, *tree.place(name)))
        return read_items(
            source,
            rows,
            items,
            understand((item.label for item in items), labels),
            form,
            label_names=label_names,
            missing=f"No image under {path}: expected {LAYOUT}",
        )
