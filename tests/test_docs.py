"""What the documents say is run, or regenerated and compared."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_attention.activations import ACTIVATIONS
from fer_attention.cli import app
from fer_attention.models import BACKBONES, bundled_path

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.S))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_code_in_the_documents_runs(block, tmp_path, monkeypatch, astronaut, capsys):
    Image.fromarray(np.asarray(astronaut)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "document", "exec"), {})  # noqa: S102
    if "EmotionRecognizer" in block and "photo.jpg" in block:
        assert capsys.readouterr().out.startswith("happy")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_readme_counts_what_there_is():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{len(BACKBONES)} backbones" in text
    assert f"{len(ACTIVATIONS)} activations" in text


@pytest.mark.slow
def test_the_model_table_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate_models", ROOT / "docs" / "generate_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == module.table()


def test_the_bundled_weights_are_small():
    assert bundled_path("resnetv2_18_eca_elu.fer2013").stat().st_size <= 6_000_000


@pytest.mark.data
def test_the_documented_accuracy_is_what_the_bundled_file_gives(shared_dir, tmp_path):
    arguments = ["evaluate", "resnetv2_18_eca_elu.fer2013", "--json", str(tmp_path / "numbers.json")]
    data = ["--data", str(shared_dir / "data" / "fer2013.zip"), "--device", "cpu"]
    result = CliRunner().invoke(app, arguments + data)
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "numbers.json").read_text())["results"]
    for document in ("README.md", "docs/model_card.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for numbers in results.values():
            low, high = numbers["interval_95"]
            assert f"{numbers['accuracy'] * 100:.2f} %" in text
            assert f"{low * 100:.2f} to {high * 100:.2f}" in text
    assert results["all images"]["accuracy"] > 0.64
