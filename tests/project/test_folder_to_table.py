"""The page "From a folder of faces to a LaTeX table": all of its commands, on a small set."""

import re
import shlex

import numpy as np
import pytest
import torch
import torchvision
import yaml
from PIL import Image
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.models import build_model, read_metadata
from fer_attention.study import read_records, runner
from tests.support.paths import ROOT
from tests.support.tiny_studies import InlineEngine

PAGE = (ROOT / "docs" / "folder_to_table.md").read_text(encoding="utf-8")
STUDY, COMMANDS = re.findall(r"```(?:yaml)?\n(.*?)```", PAGE, re.DOTALL)
SMALL = {"structure": {"width": 0.25}, "epochs": 1, "batch_size": 16, "precision": "float32"}
EMOTIONS = ("angry", "fear", "happy", "sad", "surprise")


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with colour faces, weights and the study of the page, narrower and shorter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(runner, "LocalEngine", InlineEngine)
    generator = np.random.default_rng(0)
    for label, emotion in enumerate(EMOTIONS):
        (tmp_path / "faces" / emotion).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[6 * label : 6 * label + 6, :, label % 3] += 130
            Image.fromarray(pixels).save(tmp_path / "faces" / emotion / f"{number}.png")
    torch.manual_seed(0)  # with other weights, the few steps of a run may cause a warning
    model = build_model("resnet18", width=0.25, num_classes=1000, in_chans=3, img_size=32)
    assert model.state_dict().keys() == torchvision.models.resnet18().state_dict().keys()
    torch.save(model.state_dict(), tmp_path / "resnet18.pth")
    fields = yaml.safe_load(STUDY.replace("200", "32"))
    fields["changes"] |= {**SMALL, "structure": {**fields["changes"]["structure"], **SMALL["structure"]}}
    (tmp_path / "faces.yaml").write_text(yaml.safe_dump(fields))
    return tmp_path


def call(line):
    words = shlex.split(line.replace("=200", "=32"))
    if words[1] == "train" and "finetune" in words:
        settings = ["structure.width=0.25", "epochs=1", "batch_size=16", "trackers=[]", "precision=float32"]
        words += [word for setting in settings for word in ("--set", setting)]
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, f"{line}\n{result.output}"
    return result.output


@pytest.mark.slow
def test_the_ten_commands_of_the_page_lead_to_the_table(workplace):
    commands = COMMANDS.strip().splitlines()
    assert len(commands) == 10
    said = [call(command) for command in commands[:9]]
    assert "50 images" in said[0]
    assert "Measured on the test images of stratified_kfold, fold 0" in said[3]
    assert [one for one in said[2:6] if "warning" in one] == []
    longer = read_metadata(workplace / "runs" / "longer" / "best.safetensors")
    assert (longer.preprocessing.size, longer.preprocessing.channels) == ((32, 32), 3)
    assert longer.record["config"]["epochs"] == 5
    assert "30 runs" in said[6]
    assert "30 of 30 runs are done" in said[7]
    runs = read_records(workplace / "study").runs.values()
    pairs = {(run.model, run.seed, run.fold) for run in runs}
    assert pairs == {(m, s, f) for m in ("resnet18", "resnet18_cbam") for s in range(3) for f in range(5)}
    assert {run.data.test_images for run in runs} == {10}
    table = (workplace / commands[9].split()[1]).read_text()
    assert r"\begin{tabular}" in table
    assert "CBAM vs. no attention" in table
