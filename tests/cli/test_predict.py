import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.journal import JournalFile
from fer_attention.pipeline.runs import JOURNAL


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def visible(folder):
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))


@pytest.fixture
def photo(astronaut, tmp_path):
    path = tmp_path / "photos" / "one" / "collins.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.asarray(astronaut)).save(path)
    return path


def test_predict_writes_table_json_and_picture(photo, tmp_path):
    result = run("predict", photo, "--output", tmp_path / "out", "--json", tmp_path / "out" / "r.json")
    assert result.exit_code == 0, result.output
    assert "happy" in result.stdout
    [record] = json.loads((tmp_path / "out" / "r.json").read_text())
    assert (record["image"], record["width"], record["height"]) == (str(photo), 512, 512)
    [face] = record["faces"]
    parts = {"box", "score", "landmarks", "emotion", "unsure", "candidates", "probabilities"}
    assert set(face) == parts
    assert (face["candidates"], face["unsure"]) == (["happy"], False)
    assert face["emotion"] == "happy"
    with Image.open(tmp_path / "out" / "collins.png") as annotated:
        assert annotated.size == (512, 512)
        assert np.asarray(annotated.convert("RGB")).tolist() != np.asarray(Image.open(photo)).tolist()


def test_a_photo_on_its_side_has_a_face_with_rotations(photo, tmp_path):
    with Image.open(photo) as upright:
        upright.transpose(Image.Transpose.ROTATE_270).save(photo)
    result = run("predict", photo, "--detector", "mtcnn", "--min-score", "0.999")
    assert "--rotations" in result.stderr
    record = tmp_path / "r.json"
    result = run("predict", photo, "--rotations", "--min-score", "0.999", "--json", record)
    assert result.exit_code == 0, result.output
    [face] = json.loads(record.read_text())[0]["faces"]
    assert (face["emotion"], face["turn"]) == ("happy", 90)


def test_predict_ends_at_a_bad_file_or_reports_it_and_ends_with_1(photo, tmp_path):
    broken = tmp_path / "photos" / "broken.png"
    broken.write_bytes(photo.read_bytes()[:20_000])
    missing = tmp_path / "missing.jpg"
    result = run("predict", photo, broken, missing, "--json", tmp_path / "first.json")
    assert result.exit_code == 2
    assert "broken.png" in result.stderr
    assert "--on-error skip" in result.stderr
    assert [record["image"] for record in json.loads((tmp_path / "first.json").read_text())] == [str(photo)]
    result = run("predict", broken, missing, photo, "--json", tmp_path / "r.json", "--on-error", "skip")
    assert result.exit_code == 1
    for path in (broken, missing):
        assert path.name in result.stderr
    assert "2 of 3 photos could not be read" in result.stderr
    records = json.loads((tmp_path / "r.json").read_text())
    assert [record["image"] for record in records] == [str(broken), str(missing), str(photo)]
    assert ["error" in record for record in records] == [True, True, False]


def test_predict_takes_folders_and_never_writes_over_anything(photo, tmp_path):
    twin = tmp_path / "photos" / "two" / "collins.png"
    twin.parent.mkdir()
    twin.write_bytes(photo.read_bytes())
    before = photo.read_bytes()
    result = run("predict", tmp_path / "photos", "--output", photo.parent)
    assert result.exit_code == 0, result.output
    assert photo.read_bytes() == before
    assert visible(photo.parent) == ["collins.png", "collins_2.png", "collins_3.png"]
    drawn = (photo.parent / "collins_2.png").read_bytes()
    again = run("predict", tmp_path / "photos", "--output", photo.parent, "--json", tmp_path / "again.json")
    assert again.exit_code == 0, again.output
    assert visible(photo.parent) == ["collins.png", "collins_2.png", "collins_3.png"]
    assert (photo.parent / "collins_2.png").read_bytes() == drawn
    records = json.loads((tmp_path / "again.json").read_text())
    assert [record["image"] for record in records] == [str(photo), str(twin)]


def test_predict_reports_photos_without_a_face(tmp_path):
    Image.new("RGB", (80, 60), "white").save(tmp_path / "wall.png")
    result = run("predict", tmp_path / "wall.png", "--json", tmp_path / "r.json")
    assert result.exit_code == 0
    assert "none found" in result.stdout
    assert json.loads((tmp_path / "r.json").read_text())[0]["faces"] == []


def test_json_on_standard_output_is_json_alone(photo):
    result = run("predict", photo, "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["faces"][0]["emotion"] == "happy"
    assert "happy" in result.stderr
    assert "happy" not in run("predict", photo, "--json", "-", "--quiet").stderr


def test_results_of_all_formats_agree(photo, tmp_path):
    pandas = pytest.importorskip("pandas")
    names = {form: tmp_path / "new" / f"r.{form}" for form in ("json", "jsonl", "csv", "parquet")}
    result = run("predict", photo, *(part for form, file in names.items() for part in (f"--{form}", file)))
    assert result.exit_code == 0, result.output
    [record] = json.loads(names["json"].read_text())
    assert json.loads(names["jsonl"].read_text()) == record
    for table in (pandas.read_csv(names["csv"]), pandas.read_parquet(names["parquet"])):
        assert table["emotion"].tolist() == [face["emotion"] for face in record["faces"]]
        assert table[["x1", "y1", "x2", "y2"]].values.tolist() == [face["box"] for face in record["faces"]]


def test_an_unwritable_result_file_is_refused_before_the_work(photo, tmp_path):
    result = run("predict", photo, "--json", tmp_path)
    assert result.exit_code == 2
    assert "Name a file in it" in result.stderr


@pytest.mark.parametrize(
    "name",
    ["IMG[edited].png", "[/foo].png", "[bold red]x.png", "x\udcff.png", "ü" * 120 + ".png", "no_suffix"],
)
def test_odd_names_of_photos_are_read_and_shown(photo, tmp_path, name):
    folder = tmp_path / "odd"
    (folder / name).parent.mkdir(parents=True)
    try:
        (folder / name).write_bytes(photo.read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    targets = ["--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv", "--output", tmp_path / "out"]
    result = run("predict", folder, *targets)
    assert result.exit_code == 0, result.output
    assert "happy" in result.stdout
    [record] = json.loads((tmp_path / "r.json").read_text())
    assert record["image"].endswith(name.replace("\udcff", "\\xff"))
    assert record["image"] in (tmp_path / "r.csv").read_text(encoding="utf-8")
    assert len(visible(tmp_path / "out")) == 1


def test_files_that_are_not_images_are_counted(photo):
    (photo.parent / "notes.txt").write_text("no photo")
    (photo.parent / ".hidden.png").write_bytes(b"no photo")
    (photo.parent / "._collins.png").write_bytes(b"of macOS")
    result = run("predict", photo.parent)
    assert result.exit_code == 0, result.output
    assert "left out, not images: 1 (notes.txt)" in result.stderr


def test_photos_without_a_face_come_with_a_hint(photo):
    Image.new("RGB", (80, 60), "white").save(photo.parent / "wall.png")
    result = run("predict", photo.parent)
    assert "mtcnn found no face in 1 of 2 photos. Try another --detector" in result.stderr


def test_faces_are_selected_by_size_and_position(photo, tmp_path):
    def count(*options):
        run("predict", photo, "--json", tmp_path / "r.json", *options)
        return len(json.loads((tmp_path / "r.json").read_text())[0]["faces"])

    assert count("--min-size", 20) == 1
    assert count("--min-size", 400) == 0
    assert count("--faces", "largest") == 1
    wrong = run("predict", photo, "--faces", "larges")
    assert wrong.exit_code == 2
    assert "largest" in wrong.stderr


def test_two_runs_into_one_folder_are_not_mixed(photo, tmp_path):
    with JournalFile(tmp_path / JOURNAL):
        result = run("predict", photo, "--output", tmp_path)
    assert result.exit_code == 2
    assert "Another run is writing" in result.stderr
    assert run("predict", photo, "--output", tmp_path).exit_code == 0


def test_other_options_draw_the_pictures_again(photo, tmp_path):
    options = ("--output", tmp_path / "out", "--json", tmp_path / "r.json")
    run("predict", photo, *options)
    first = (tmp_path / "out" / "collins.png").read_bytes()
    run("predict", photo, *options, "--detector", "none")
    assert (tmp_path / "out" / "collins.png").read_bytes() != first
    assert visible(tmp_path / "out") == ["collins.png"]
    assert json.loads((tmp_path / "r.json").read_text())[0]["faces"][0]["box"] == [0, 0, 512, 512]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "mtcn"], "Did you mean 'mtcnn'"),
        (["--device", "gpu"], "'gpu'"),
        (["--weights", "resnet50"], "resnetv2_18_eca_elu.fer2013"),
    ],
)
def test_predict_explains_wrong_options_in_one_line(photo, arguments, message):
    result = run("predict", photo, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_predict_of_an_empty_folder_is_an_error(tmp_path):
    result = run("predict", tmp_path)
    assert result.exit_code == 2
    assert "contains no image file" in result.stderr
