"""The notebooks: their outputs are kept, clean, and what a clean kernel gives."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
SAID = {
    "1_quick_start": ["happy 92% in the box", "[1, 0] faces", "ImageError: Cannot read"],
    "2_blocks_and_names": ["Did you mean 'resnet50_cbam'", "8 blocks placed", "9 activations exchanged"],
    "3_train_on_fer2013": ["6 epochs of", "best epoch", "public"],
    "4_a_study_and_its_report": ["killed after", "12 records, 0 failed", "On bars, accuracy is that on"],
    "5_what_the_network_looks_at": ["happy 92%", "layer1.0.attn spatial", "same bits: True"],
    "6_export_and_serve": ["within 1e-4", "[48, 48] happy", "happy 0.9"],
}


@pytest.fixture(scope="module")
def runner():
    """examples/run_notebooks.py as a module."""
    spec = importlib.util.spec_from_file_location("run_notebooks", EXAMPLES / "run_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(notebook):
    """Everything that the cells gave out as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.get("text", "") for output in outputs]
    return "\n".join(texts + [str(o.get("data", {}).get("text/markdown", "")) for o in outputs])


def test_there_are_six_and_the_list_names_each():
    assert [path.stem for path in NOTEBOOKS] == list(SAID)
    listed = re.findall(r"\]\((\d_\w+)\.ipynb\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert listed == list(SAID)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_clean_outputs(runner, path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert runner.faults(notebook) == []
    assert not runner.PLACES.search("\n".join(cell.source for cell in notebook.cells))
    for fact in SAID[path.stem]:
        assert fact in said(notebook)
    assert path.stat().st_size < 600_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_in_a_notebook_lead_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text):
        assert (path.parent / target).exists(), target


def test_warnings_errors_and_places_are_faults(runner):
    def cell(**output):
        made = nbformat.v4.new_code_cell("x")
        made.outputs = [nbformat.v4.new_output(**output)]
        return made

    notebook = nbformat.v4.new_notebook(
        cells=[
            cell(output_type="stream", name="stderr", text="FutureWarning"),
            cell(output_type="stream", name="stdout", text="written to /home/someone/x"),
            cell(output_type="error", ename="ValueError", evalue="wrong", traceback=[]),
            cell(output_type="stream", name="stdout", text="3/4 of /all"),
        ]
    )
    assert [fault[:6] for fault in runner.faults(notebook)] == ["cell 0", "cell 1", "cell 2"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_clean_kernel_runs_a_notebook(runner, path, monkeypatch):
    monkeypatch.delenv("FER2013", raising=False)
    before = sorted(file.name for file in EXAMPLES.iterdir())
    notebook = runner.execute(path)
    assert runner.faults(notebook) == []
    for fact in SAID[path.stem]:
        assert fact in said(notebook)
    assert sorted(file.name for file in EXAMPLES.iterdir()) == before
