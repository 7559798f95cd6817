import pytest
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.faces.detectors.weights import DOWNLOADABLE, weights_folder
from tests.support.weights_server import CONTENT, missing, tiny_weights


def run(*arguments, columns=600):
    return CliRunner().invoke(app, ["weights", *arguments], env={"COLUMNS": str(columns)})


@pytest.fixture(autouse=True)
def server(monkeypatch, tmp_path):
    with tiny_weights(monkeypatch, tmp_path) as (server, _):
        yield server


def test_download_prints_the_file_its_size_and_its_terms():
    result = run("download", "tiny", columns=40)
    assert result.exit_code == 0, result.output
    path = weights_folder() / "tiny.onnx"
    assert path.read_bytes() == CONTENT
    assert result.stdout.splitlines() == [
        f"file    {path}",
        "size    200,000 bytes",
        "licence CC0 [all]",
        "source  https://example.org/tiny",
    ]


def test_download_again_needs_no_network(server):
    first = run("download", "tiny")
    server.answer = missing
    second = run("download", "tiny")
    assert second.exit_code == 0, second.output
    assert second.stdout == first.stdout


def test_a_failed_download_is_one_line_and_exit_code_2(server):
    server.answer = missing
    result = run("download", "tiny")
    assert result.exit_code == 2
    assert result.stdout == ""
    [line] = result.stderr.strip().splitlines()
    assert line.startswith("error: The weights of 'tiny' could not be downloaded")
    assert "404" in line
    assert not any(weights_folder().iterdir())


def test_an_unknown_name_suggests_the_nearest():
    result = run("download", "yunte")
    assert result.exit_code == 2
    assert "Did you mean 'yunet'?" in result.stderr


def state(name):
    result = run("list")
    assert result.exit_code == 0, result.output
    [row] = [line for line in result.stdout.splitlines() if f" {name} " in line]
    return [cell.strip() for cell in row.strip("│").split("│")]


def test_list_shows_terms_and_what_is_here():
    name, size, licence, source, here = state("tiny")
    assert (name, size, licence, source, here) == (
        "tiny", "200,000 bytes", "CC0 [all]", "https://example.org/tiny", "no",
    )  # fmt: skip
    assert state("yunet")[1] == "229,738 bytes"
    assert not weights_folder().exists()
    run("download", "tiny")
    path = weights_folder() / "tiny.onnx"
    assert state("tiny")[-1] == str(path)
    path.write_bytes(b"damaged")
    assert state("tiny")[-1] == f"damaged, download again: {path}"
    assert state("yunet")[-1] == "no"


def test_the_list_fits_80_columns_and_loses_nothing():
    output = run("list", columns=80).stdout
    assert max(map(len, output.splitlines())) <= 80
    columns = [line.split("│") for line in output.splitlines() if "│" in line]
    sources = "".join(cells[4].strip() for cells in columns)
    assert DOWNLOADABLE["yunet"].source in sources
