"""Mistakes in a campaign are said in a line or two, before anything is trained."""

import pytest
import yaml

from fer_attention.training.campaign import load_campaign
from tests.support.tiny_campaigns import described, run, said, write_faces, written


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data"))


def broken(change):
    content = described()
    change(content)
    return content


def set_in(*path, value):
    def change(content):
        place = content
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("run", value=[]), "run: Unknown field 'run'. Did you mean 'runs'"),
        (
            set_in("runs", 1, "recipes", value="quick"),
            "runs.1.recipes: Unknown field 'recipes'. Did you mean",
        ),
        (set_in("runs", value=[]), "runs: "),
        (set_in("runs", 1, "name", value="first"), "Two runs are named 'first'."),
        (set_in("runs", 1, "name", value="../out"), "runs.1.name: "),
        (
            set_in("runs", 1, "data", value="fces"),
            "run second: Unknown data set 'fces'. Did you mean 'faces'",
        ),
        (
            set_in("runs", 1, "recipe", value="quik"),
            "run second: Unknown recipe 'quik'. Did you mean 'quick'",
        ),
        (
            set_in("runs", 1, "changes", "epoch", value=3),
            "epoch: Unknown field 'epoch'. Did you mean 'epochs'",
        ),
        (
            set_in("runs", 1, "changes", "lr", value=-1),
            "run second: The recipe quick with these changes cannot",
        ),
        (
            set_in("runs", 1, "changes", "teachers", value=["{frist}"]),
            "run second: '{frist}': Unknown run 'frist'. Did you mean 'first'",
        ),
        (
            set_in("runs", 0, "changes", "teachers", value=["{second}"]),
            "run first: '{second}' stands for weights that are not there yet. Only runs above it can be "
            "named: none.",
        ),
        (
            set_in("runs", 0, "changes", "weights", value="{first}"),
            "run first: '{first}' stands for weights that are not there yet.",
        ),
        (
            set_in("data", "faces", "path", value="{fer2013}"),
            "data set faces: '{fer2013}': Unknown path 'fer2013'. Known: faces. Give its path with --path "
            "fer2013=PATH.",
        ),
        (set_in("data", "faces", "path", value="nowhere.zip"), "data set faces: nowhere.zip does not exist"),
        (
            set_in("data", "faces", "data_format", value="fer2031"),
            "data set faces: Unknown data format 'fer2031'",
        ),
        (
            set_in("data", "faces", "options", value={"on_eror": "skip"}),
            "data set faces: Unknown option of the data format 'fer2013': 'on_eror'",
        ),
    ],
)
def test_a_mistake_in_the_last_run_is_found_before_the_first_is_trained(tmp_path, faces, change, message):
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump(broken(change)))
    result = run(path, "--output", tmp_path / "runs", "--path", f"faces={faces}")
    assert result.exit_code == 2
    assert message in said(result)
    assert len(result.output.splitlines()) <= 2
    assert "pydantic" not in result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "campaign.yaml cannot be read: No such file or directory."),
        ("runs: [", "campaign.yaml is not valid YAML: line 1, column 8: expected the node content"),
        ("- first", "campaign.yaml must hold named fields; got list."),
        ("", "campaign.yaml must hold named fields; got NoneType"),
        ("data: {}\nruns: []\ndata: {}", "line 3, column 1: the field 'data' is given twice"),
        (b"\x80\x81", "campaign.yaml is not valid YAML: "),
    ],
)
def test_a_file_that_is_no_campaign_is_refused_in_a_line(tmp_path, content, message):
    path = tmp_path / "campaign.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run(path, "--output", tmp_path / "runs")
    assert result.exit_code == 2
    assert message in said(result)
    assert len(result.output.splitlines()) == 1
    with pytest.raises(ValueError, match="campaign.yaml"):
        load_campaign(path)


@pytest.mark.parametrize("text", ["faces", "=x", "faces="])
def test_a_path_without_a_name_or_a_place_is_refused(tmp_path, text):
    result = run(written(tmp_path), "--output", tmp_path / "runs", "--path", text)
    assert result.exit_code == 2
    assert said(result) == f"error: --path takes NAME=PATH, got {text!r}."


def test_an_output_that_cannot_be_made_is_said_before_the_work(tmp_path, faces):
    (tmp_path / "file").write_text("")
    result = run(written(tmp_path), "--output", tmp_path / "file" / "runs", "--path", f"faces={faces}")
    assert result.exit_code == 2
    assert f"Cannot make the folder {tmp_path / 'file' / 'runs'}: Not a directory." in said(result)
    assert "begins" not in result.output
