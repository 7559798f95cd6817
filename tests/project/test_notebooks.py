"""The notebooks: their outputs are kept, clean, and what a clean kernel gives."""

import importlib.util
import re
import shutil
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from tests.support.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
SAID = {
    "1_quick_start": ["happy 100% in the box", "[1, 0] faces", "ImageError: Cannot read"],
    "2_blocks_and_names": ["Did you mean 'resnet50_cbam'", "8 blocks placed", "9 activations exchanged"],
    "3_train_on_fer2013": ["epochs of", "best epoch", "(95 % interval ", "selected the model's epoch"],
    "4_a_study_and_its_report": [
        "killed after at least 3 of 12",
        "12 records, 0 failed; the first ones were kept: True",
        "- Limits: one data set, bars",
        "- Limits: one data set, fer2013",
    ],
    "5_what_the_network_looks_at": ["happy 100%", "layer1.0.attn spatial", "same bits: True"],
    "6_export_and_serve": ["within 1e-4", "[48, 48] happy", "happy 0.9", "400 not a picture"],
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


def printed(notebook):
    """What each cell said as text and tables, by its number; without cells tagged `varies`."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return {
        number: "".join(o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in cell.outputs)
        for number, cell in enumerate(cells, start=1)
        if "varies" not in cell.metadata.get("tags", [])
    }


def words_and_numbers(text):
    """The text with its fractions and percentages taken out, and these as numbers.

    They may differ in the last digits between processors; counts and shapes, which stay, may not.
    """
    fraction = re.compile(r"[-+]?\d+(?:\.\d+%?|%)")
    found = [one.group() for one in fraction.finditer(text)]
    numbers = [float(one[:-1]) / 100 if one.endswith("%") else float(one) for one in found]
    return fraction.sub("#", text).split(), numbers


def agree(fresh, stored):
    """Whether two outputs say the same, up to rounding."""
    (words, numbers), (known_words, known) = words_and_numbers(fresh), words_and_numbers(stored)
    return words == known_words and numbers == pytest.approx(known, rel=1e-3, abs=0.021)


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
    assert path.stat().st_size < 400_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_in_a_notebook_lead_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_installs_the_library_where_it_is_missing(path, monkeypatch):
    cell = next(cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert cell.metadata.tags == ["install"]
    (extra,) = re.findall(r'%pip install --quiet "\.\.\[(\w+)\]"', cell.source)
    assert extra in PROJECT["optional-dependencies"]
    installed = []
    code = cell.source.replace(f'%pip install --quiet "..[{extra}]"', "installed.append(1)")
    for found, expected in ((True, []), (None, [1])):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, found=found: found)
        exec(code, {"installed": installed})  # noqa: S102
        assert installed == expected


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_two_exercises_with_hints_end_a_notebook(path):
    (exercises,) = [
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.source.startswith("## Exercises")
    ]
    assert re.findall(r"^(\d)\. \*\*.+\*\* .*Hint: .*\.$", exercises, re.M) == ["1", "2"]


def test_photos_of_fer2013_are_not_stored():
    cells = nbformat.read(EXAMPLES / "3_train_on_fer2013.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert "FER2013 - 35887 crops" in "".join(output.get("text", "") for output in outputs)
    assert not any("PIL" in output.get("data", {}).get("text/plain", "") for output in outputs)


def test_notebooks_lead_to_the_repository_once_it_has_an_address(runner):
    def parts():
        texts = ["# Title", "[a](../docs/data.md) [b](2_x.ipynb) [c](https://x.org/) [d](#e)"]
        cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
        cells.append(nbformat.v4.new_code_cell('pip install "..[study]"', metadata={"tags": ["install"]}))
        return nbformat.v4.new_notebook(cells=cells)

    notebook = parts()
    runner.lead_to_repository(notebook, "1_x.ipynb", None)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in parts().cells]
    for _ in range(2):  # the second time finds nothing to change
        runner.lead_to_repository(notebook, "1_x.ipynb", "https://github.com/o/r/")
        title, links, install = (cell.source for cell in notebook.cells)
        hosted = "https://colab.research.google.com/github/o/r/blob/main/examples/1_x.ipynb"
        assert title == f"# Title\n\n[Open in Colab]({hosted})"
        base = "https://github.com/o/r/blob/main"
        assert links == f"[a]({base}/docs/data.md) [b]({base}/examples/2_x.ipynb) [c](https://x.org/) [d](#e)"
        assert install == 'pip install "fer_attention[study] @ git+https://github.com/o/r"'


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


@pytest.mark.parametrize(
    ("fresh", "same"),
    [
        ("happy 91% in [181, 62]", True),  # another processor's rounding
        ("happy 85% in [181, 62]", False),
        ("happy 92% in [181, 63]", False),
        ("sad 92% in [181, 62]", False),
        ("happy 92% in [181, 62] 0.5", False),
    ],
)
def test_outputs_agree_up_to_rounding(fresh, same):
    assert agree(fresh, "happy 92% in  [181, 62]") is same


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_clean_kernel_gives_what_is_kept(runner, path, monkeypatch, tmp_path):
    monkeypatch.delenv("FER2013", raising=False)
    folder = tmp_path / "examples"  # a copy: a data set beside the original is not found
    folder.mkdir()
    copy = Path(shutil.copy(path, folder))
    published = Path("docs", "studies", "smoke", "report")
    shutil.copytree(EXAMPLES.parent / published, tmp_path / published)
    notebook = runner.execute(copy)
    assert runner.faults(notebook) == []
    for fact in SAID[path.stem]:
        assert fact in said(notebook)
    stored = printed(nbformat.read(path, as_version=4))
    fresh = printed(notebook)
    assert fresh.keys() == stored.keys()
    apart = [number for number in stored if not agree(fresh[number], stored[number])]
    assert not apart, [(number, fresh[number], stored[number]) for number in apart]
    assert [file.name for file in folder.iterdir()] == [path.name]  # nothing is left beside it


@pytest.mark.slow
def test_the_temporary_folder_of_a_notebook_is_deleted(runner, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    code = """
        import atexit, tempfile, time
        folder = tempfile.TemporaryDirectory()
        atexit.register(time.sleep, 6)  # a kernel that stops slowly, as one that has trained
        print(folder.name)
    """
    cell = nbformat.v4.new_code_cell(textwrap.dedent(code))
    path = tmp_path / "1_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    (made,) = runner.execute(path).cells
    folder = Path(made.outputs[0].text.strip())
    assert folder.parent == temporary
    assert not folder.exists()


def test_the_runner_refuses_a_number_that_no_notebook_has(runner, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py", "1", "9"])
    monkeypatch.setattr(runner, "execute", lambda path: pytest.fail(f"{path.name} was run"))
    with pytest.raises(SystemExit, match="number 9"):
        runner.main()


def test_a_notebook_with_a_fault_is_not_written(runner, monkeypatch, tmp_path):
    cell = nbformat.v4.new_code_cell("import sys; print('no', file=sys.stderr)")
    path = tmp_path / "1_warns.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    before = path.read_bytes()
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py"])
    monkeypatch.setattr(runner, "HERE", tmp_path)
    with pytest.raises(SystemExit, match="is not written"):
        runner.main()
    assert path.read_bytes() == before
