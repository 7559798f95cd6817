"""Messages on the command line: options and plain words, whatever the library says."""

import errno

import pytest
import typer
from typer.testing import CliRunner

from fer_attention.atomic import replacing
from fer_attention.cli import app
from fer_attention.cli.lazy import LazyGroup
from fer_attention.cli.wording import as_typed, message_of
from fer_attention.outputs import output_file


@pytest.mark.parametrize(
    ("command", "message", "expected"),
    [
        ("predict", "Take device='cpu' or 'auto'.", "Use --device cpu or auto."),
        ("predict", "device 'cuda' is not available.", "--device cuda is not available."),
        ("predict", "min_score lies in [0, 1]; got 3.", "--min-score lies in [0, 1]; got 3."),
        ("predict", "/a/min_score/b.jpg is not a file.", "/a/min_score/b.jpg is not a file."),
        ("predict", "The weights of device 3.", "The weights of device 3."),
        ("train", "batch_size: Input should be 1.", "batch_size: must be 1."),
        ("train", "Pass data_format= if it is one.", "Pass --data-format if it is one."),
        ("train", "  a.epoch: Unknown field 'epoch'. Try it.", "  No field 'a.epoch'. Try it."),
        ("faces", "To continue: on_error='skip' (--on-error skip).", "To continue: --on-error skip."),
        ("faces", "min_size is at least 0, or None; got -1.", "--min-size is at least 0; got -1."),
        ("faces", "faces is all or one; got 'x'.", "--faces is all or one; got 'x'."),
        ("demo", "megapixels is a number.", "--max-megapixels is a number."),
        ("demo", "create_detector('yolo', weights='a.onnx')", "--detector yolo --detector-weights a.onnx"),
        (
            "video",
            "Unknown option of the detector 'none': 'weights'. Known: none.",
            "The detector 'none' takes no --detector-weights.",
        ),
        ("train", "a: Input should be a valid tuple; got None.", "a: must be a list; got nothing."),
        ("video", "Unknown option of the set 'a': 'sise'.", "Unknown option of the set 'a': 'sise'."),
        ("video", "not an image <_io.BytesIO object at 0x7f3c>.", "not an image."),
    ],
)  # fmt: skip
def test_a_message_of_the_library_names_options(command, message, expected):
    assert as_typed(message, LazyGroup.load(command).params) == expected


def test_errors_of_the_operating_system_name_path_and_reason(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for action, reason in (
        (file.mkdir, "it is a file, and a folder is needed"),
        ((file / "sub").mkdir, "a part of the path is a file, not a folder"),
        (tmp_path.read_bytes, "it is a folder, and a file is needed"),
        ((tmp_path / "absent").read_bytes, "no such file or directory"),
    ):
        with pytest.raises(OSError, match="Errno") as caught:
            action()
        assert message_of(caught.value) == f"Cannot use {caught.value.filename}: {reason}."


def test_a_full_disk_is_named_with_the_remedy(tmp_path):
    for writing in (replacing(tmp_path / "a.csv"), output_file(tmp_path / "a.csv")):
        with pytest.raises(OSError, match="No space") as caught, writing:
            raise OSError(errno.ENOSPC, "No space left on device")
        reason = "no space left on device. Free some space, or choose another disk"
        assert message_of(caught.value) == f"Cannot use {tmp_path / 'a.csv'}: {reason}."


def test_a_number_out_of_range_is_explained_in_plain_words():
    for option, value in (("--fold", "-1"), ("--fraction", "half")):
        arguments = ["train", "quick", "--data", "d", "--output", "o", option, value]
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        assert result.exit_code == 2
        assert f"Invalid value for '{option}'" in result.stderr
        assert "Input should" not in result.stderr
        assert "unable to parse" not in result.stderr


@pytest.mark.parametrize("stop", [typer.Exit(3), BrokenPipeError()])
def test_exit_codes_and_broken_pipes_are_left_to_typer(monkeypatch, stop):
    def listed(*_):
        raise stop

    monkeypatch.setattr("fer_attention.models.list_models", listed)
    result = CliRunner().invoke(app, ["models"])
    assert "error" not in result.stderr
    assert result.exit_code == getattr(stop, "exit_code", 1)
