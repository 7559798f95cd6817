"""Commands of README and the documents: they are accepted, and run as printed in a folder of small files.

A block that is not run has a comment above it: `<!-- not run: an hour on two cores -->`. Its commands are
checked for options that do not exist all the same.
"""

import re
import shlex
import shutil
from itertools import product

import generate_commands
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention import sample_photo
from fer_attention.cli import app
from fer_attention.cli.lazy import LazyGroup
from fer_attention.emotions import FER2013
from fer_attention.models import bundled_path
from tests.support.datasets import noise, save, write_kaggle, write_named_votes, zipped
from tests.support.paths import ROOT
from tests.support.videos import make_clip

FENCE = re.compile(r"^(?:<!-- not run: ([^\n]+) -->\n)?```([^\n`]*)\n(.*?)^```$", re.S | re.M)
FOLDERS = (ROOT / "docs", ROOT / "docs" / "pretrained")
DOCUMENTS = [ROOT / "README.md", *(path for folder in FOLDERS for path in sorted(folder.glob("*.md")))]
LONG = {"explain", "thesis", "training", "studies", "data", "export"}  # more than ten seconds
SERVERS = {"demo", "serve", "weights download"}  # run until they are stopped, or fetch from the network
CK48 = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
SMALLER = {"train": ["--set", "epochs=1", "--set", "batch_size=8"]}
"""Arguments that make a command quick."""


def blocks(path):
    """(reason why it is not run, lines) of each block of commands."""
    for reason, language, text in FENCE.findall(path.read_text(encoding="utf-8")):
        lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
        if language.strip() in ("", "sh", "bash") and any(map(first_word, lines)):
            yield reason, lines


def first_word(line):
    return next(
        (word for word in ("fer-attention", "pip", "make", "python") if line.startswith(f"{word} ")), ""
    )


def leaf(arguments):
    """The command that arguments call, its words and the other arguments."""
    command = LazyGroup.load(arguments[0])
    if hasattr(command, "commands"):
        return command.commands[arguments[1]], " ".join(arguments[:2]), arguments[2:]
    return command, arguments[0], arguments[1:]


def arguments_of(line):
    words = shlex.split(line.partition(" | ")[0], comments=True)[1:]
    while words[:1] == ["--plugin"]:
        words = words[2:]
    return words


WITH_COMMANDS = [path for path in DOCUMENTS if path.stem != "commands" and any(blocks(path))]


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=lambda path: path.stem)
def test_commands_in_the_documents_are_accepted(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for reason, lines in blocks(path):
        for line in lines:
            word, arguments = first_word(line), arguments_of(line)
            if word == "fer-attention":
                command, words, others = leaf(arguments)
                command.make_context(words, others)
            elif word == "make":
                assert f"\n{arguments[0]}:" in makefile, line
            elif word == "python":
                assert arguments[0] == "-m" or (ROOT / arguments[0]).is_file(), line
            else:
                assert word == "pip" or reason, f"{path.name}: mark the block of {line!r} as not run"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files that the documents name, as small as they can be."""
    for name in ("one.jpg", "photos/friends/one.jpg", "photos/two.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample_photo(), tmp_path / name)
    with Image.open(sample_photo()) as one:
        one.load()
        two = Image.new("RGB", (2 * one.width, one.height))
        two.paste(one)
        two.paste(one, (one.width, 0))
    two.save(tmp_path / "photo.jpg")
    make_clip(tmp_path / "clip.mp4", [np.asarray(one.crop((100, 0, 340, 240)))] * 4)
    for name in ("mine", "none", "se", "cbam"):
        weights = bundled_path("resnetv2_18_eca_elu.fer2013")
        shutil.copy(weights, tmp_path / f"{name}.safetensors")
    kaggle = write_kaggle(tmp_path / "fer2013")
    rows = []
    for file in sorted(kaggle.rglob("*.png")):
        votes = [0] * 10
        votes[FER2013.index(file.parent.name)] = 10
        rows.append((file.parent.name, file.name, votes))
    write_named_votes(tmp_path / "ferplus_votes.csv", *rows)
    zipped(kaggle)
    for subject, emotion in product(range(10), CK48):
        save(tmp_path / "CK+48" / emotion / f"S{subject:03}_001_{subject:08}.png", noise(subject))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
        for path in WITH_COMMANDS
    ],
)
def test_commands_in_the_documents_run(path, folder, without_curves):
    for reason, lines in blocks(path):
        for line in lines:
            arguments = arguments_of(line)
            if reason or first_word(line) != "fer-attention" or leaf(arguments)[1] in SERVERS:
                continue
            extra = SMALLER.get(arguments[0], [])
            result = CliRunner().invoke(app, [*arguments, *extra], env={"COLUMNS": "200"})
            assert result.exit_code == 0, f"{line}\n{result.output}"


def test_the_reference_of_commands_is_up_to_date():
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == generate_commands.page(), "run python tools/generate_commands.py"
