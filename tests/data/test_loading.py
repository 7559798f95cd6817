"""Any data set by its path."""

import pytest

from fer_attention.data import FORMATS, DataError, load_data
from fer_attention.data.loading import recognised_format
from tests.support.datasets import (
    USAGES,
    cell,
    noise,
    save,
    write_affectnet,
    write_ck48,
    write_fer2013_csv,
    write_jaffe,
    write_kaggle,
    write_original_ck,
    write_rafdb,
    write_table,
    write_text,
    write_votes,
    zipped,
)


def ck_csv(root):
    write_text(root / "ckextended.csv", "emotion,pixels,Usage", f"7,{cell(noise(0))},Training")
    return root


def ferplus(root):
    write_fer2013_csv(root / "fer2013.csv")
    write_votes(root / "fer2013new.csv", [[0, 10, *[0] * 8]] * 4, usages=USAGES)
    return root


def fer2013_csv(root):
    write_fer2013_csv(root / "fer2013.csv")
    return root


def folder(root):
    save(root / "train/happy/1.png", noise(0))
    return root


WRITERS = {
    "fer2013 as images": (write_kaggle, "fer2013"),
    "fer2013 as a table": (fer2013_csv, "fer2013"),
    "ferplus": (ferplus, "ferplus"),
    "ckplus as crops": (write_ck48, "ckplus"),
    "ckplus as a table": (ck_csv, "ckplus"),
    "ckplus as released": (write_original_ck, "ckplus"),
    "jaffe": (write_jaffe, "jaffe"),
    "folder": (folder, "folder"),
    "rafdb": (write_rafdb, "rafdb"),
    "affectnet": (write_affectnet, "affectnet"),
    "a table of files": (write_table, "table"),
}


def test_every_reader_has_a_layout_here():
    assert {name for _, name in WRITERS.values()} == set(FORMATS)


@pytest.mark.parametrize("wrap", [lambda root: root, zipped], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", WRITERS)
def test_layouts_are_recognised_and_read(tmp_path, layout, wrap):
    write, name = WRITERS[layout]
    path = wrap(write(tmp_path / "set"))
    assert recognised_format(path) == name
    by_layout, by_name = load_data(path), load_data(path, data_format=name)
    assert len(by_layout) == len(by_name) > 0
    assert by_layout.names.tolist() == by_name.names.tolist()
    assert len(set(by_layout.names)) == len(by_layout)


@pytest.mark.parametrize(
    ("name", "format_"), [("fer2013.csv", "fer2013"), ("other.csv", "fer2013"), ("ckextended.csv", "ckplus")]
)
def test_a_lone_table_is_recognised_by_its_name_and_header(tmp_path, name, format_):
    assert recognised_format(write_fer2013_csv(tmp_path / name)) == format_


def test_an_unknown_layout_lists_the_known_ones(tmp_path):
    write_text(tmp_path / "notes/about.txt", "nothing")
    with pytest.raises(DataError) as error:
        load_data(tmp_path)
    for part in (
        "Files there: 1 (notes/about.txt)",
        *(f"{name}: {FORMATS[name].layout}" for name in FORMATS),
    ):
        assert part in str(error.value)


def test_an_ambiguous_layout_asks_for_the_format(tmp_path):
    write_kaggle(tmp_path)
    write_jaffe(tmp_path)
    with pytest.raises(DataError, match="looks like fer2013 and jaffe. Say which: data_format='fer2013'"):
        load_data(tmp_path)
    assert len(load_data(tmp_path, data_format="jaffe", on_error="skip")) == 14


def test_a_missing_path_suggests_the_nearest(tmp_path):
    write_fer2013_csv(tmp_path / "fer2013.csv")
    with pytest.raises(DataError, match=r"fer2013\.cvs does not exist. Did you mean 'fer2013\.csv'"):
        load_data(tmp_path / "fer2013.cvs")
    with pytest.raises(DataError, match="does not exist. Neither does .*nowhere"):
        load_data(tmp_path / "nowhere/fer2013.csv")


def test_unknown_formats_and_options_suggest_the_nearest(tmp_path):
    write_jaffe(tmp_path)
    with pytest.raises(ValueError, match="Unknown data format 'jafe'. Did you mean 'jaffe'"):
        load_data(tmp_path, data_format="jafe")
    with pytest.raises(TypeError, match="option of the data format 'jaffe': 'sise'. Did you mean 'size'"):
        load_data(tmp_path, sise=(80, 80))
    assert load_data(tmp_path, size=(80, 70)).images.shape == (14, 80, 70)


def test_errors_are_raised_or_listed_as_requested(tmp_path):
    (write_jaffe(tmp_path) / "KA.AN2.50.tiff").write_bytes(b"no image")
    with pytest.raises(DataError, match="not a complete image"):
        load_data(tmp_path)
    assert len(load_data(tmp_path, on_error="skip").skipped) == 1


@pytest.mark.data
def test_the_real_fer2013_is_recognised(shared_dir):
    assert recognised_format(shared_dir / "data" / "fer2013.zip") == "fer2013"
