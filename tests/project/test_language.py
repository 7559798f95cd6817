"""Public docstrings and messages in plain English."""

import ast
import re

from tests.support.paths import ROOT

PACKAGE = ROOT / "fer_attention"
OPENINGS = ("What", "Whether", "How", "Where", "Which", "Who")
PHRASES = re.compile(
    r"gone on with|came to\b|which every byte|signs: |would see a difference|lie about|meant by a path"
    r"|(?<![Tt]here )\bis no (YAML|JSON|file|image|folder|number|PyTorch|ONNX)\b|is not a valid Type"
)


def docstrings():
    """(file and name, docstring) of every public class and function."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                text = ast.get_docstring(node)
                if text and not node.name.startswith("_"):
                    yield f"{path.relative_to(ROOT)}: {node.name}", text


def test_docstrings_open_with_a_verb_or_a_noun():
    found = dict(docstrings())
    assert len(found) > 500
    assert [name for name, text in found.items() if re.split(r"\W", text)[0] in OPENINGS] == []


def test_phrases_that_sound_translated_are_gone():
    files = [
        *PACKAGE.rglob("*.py"),
        *PACKAGE.rglob("*.jinja"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "README.md",
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in texts.items()
        for match in PHRASES.finditer(text)
    }
    assert found == set()


def test_names_of_tests_are_short_and_without_possessives():
    names = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert len(names) > 1000
    assert [name for name in names if len(name) > 70 or "_s_" in name] == []
