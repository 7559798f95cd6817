import json
import re

import pytest
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.data import Protocol, load_data
from tests.support.datasets import noise, save


def run(*arguments, columns=80):
    return CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": str(columns)})


@pytest.fixture
def folder(tmp_path):
    """Nine pictures of three emotions; the last two are one, with two labels."""
    root = tmp_path / "set"
    for number in range(9):
        emotion = ("happy", "sad", "fear")[number % 3]
        save(root / emotion / f"photo[old]{number}.png", noise(min(number, 7)))
    return root


def test_names_with_brackets_are_printed_whole(folder):
    result = run("audit", folder, "--no-near")
    assert result.exit_code == 0, result.output
    assert "photo[old]7.png" in result.output


def test_skipped_files_are_listed(folder, tmp_path):
    for number in range(3):
        (folder / "sad" / f"broken{number}.png").write_bytes(b"no image")
    assert run("audit", folder).exit_code == 2
    result = run("audit", folder, "--on-error", "skip", "--json", tmp_path / "new" / "audit.json")
    assert result.exit_code == 0, result.output
    assert re.search(r"skipped files\W+3\b", result.output)
    record = json.loads((tmp_path / "new" / "audit.json").read_text())
    assert [skip["name"] for skip in record["skipped"]] == [f"sad/broken{n}.png" for n in range(3)]
    for number in range(3):
        assert f"broken{number}.png" in result.output


def test_audit_skips_near_duplicates_on_request(folder, tmp_path):
    for flag, expected in (("--no-near", None), ("--near", [])):
        run("audit", folder, flag, "--json", tmp_path / "audit.json")
        near = json.loads((tmp_path / "audit.json").read_text())["near"]
        assert (near and near["list"]) == expected


def test_tables_fit_80_columns(folder):
    assert max(map(len, run("audit", folder).output.splitlines())) <= 80


def test_split_saves_a_protocol_that_loads_and_warns_in_a_line(folder, tmp_path):
    target = tmp_path / "new" / "folds.json"
    result = run("split", folder, "--protocol", "paper", "--output", target, "--seed", "3", columns=200)
    assert result.exit_code == 0, result.output
    assert "warning: The protocol 'paper' divides images at random" in result.stderr
    assert ".py" not in result.stderr
    [fold] = Protocol.load(target, load_data(folder)).folds
    assert (len(fold.train), len(fold.validation), len(fold.test)) == (5, 2, 2)


def test_an_option_that_the_protocol_lacks_is_an_error(folder, tmp_path):
    target = tmp_path / "folds.json"
    result = run("split", folder, "--protocol", "loso", "--folds", "4", "--output", target, columns=200)
    assert result.exit_code == 2
    assert "The protocol 'loso' takes no --folds." in result.stderr
    assert not target.exists()


def test_audit_counts_copies_across_splits(tmp_path):
    for split, numbers in (("train", range(4)), ("test", (0, 5, 6))):
        for number in numbers:
            save(tmp_path / "set" / split / "happy" / f"{number}.png", noise(number))
    target = tmp_path / "out" / "audit.json"
    result = run("audit", tmp_path / "set", "--json", target)
    assert result.exit_code == 0, result.output
    assert "7 images" in result.output
    assert "in train" in result.output
    record = json.loads(target.read_text())
    assert record["identical"]["images_of_second_split_in_first"]["train"] == {"test": 1}


def test_a_failed_split_keeps_the_earlier_file(folder, tmp_path):
    target = tmp_path / "folds.json"
    result = run("split", folder, "--protocol", "stratified_kfold", "--folds", "3", "--output", target)
    assert result.exit_code == 0, result.output
    assert len(json.loads(target.read_text())["folds"]) == 3
    assert run("split", folder, "--protocol", "loso", "--output", target).exit_code == 2
    assert len(json.loads(target.read_text())["folds"]) == 3


def test_split_refuses_a_file_that_train_would_not_read(folder, tmp_path):
    target = tmp_path / "folds.txt"
    result = run("split", folder, "--protocol", "stratified_kfold", "--output", target, columns=200)
    assert result.exit_code == 2
    assert "--output is a .json file, as --protocol FILE expects" in result.stderr
    assert not target.exists()
