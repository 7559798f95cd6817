"""What pyproject.toml promises, and what the wheel and the sdist hold."""

import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from wheel_alone import COMMANDS, uncovered

import fer_attention
from fer_attention.cli import app
from fer_attention.cli.lazy import COMMANDS as COMMANDS_BY_NAME
from fer_attention.cli.lazy import LazyGroup

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from tests.support.paths import ROOT

PACKAGE = ROOT / "fer_attention"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {  # where a module is named otherwise than the project that brings it, or is of its own needs
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "markupsafe": "jinja2",
    "pytorch_grad_cam": "grad-cam",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "starlette": "fastapi",
    "triton": "torch",  # on the platforms that have it
    "yaml": "pyyaml",
}


def requirements(extra=None):
    """Requirements of an extra, those of its extras included; of the core without one."""
    for text in PROJECT["dependencies"] if extra is None else EXTRAS[extra]:
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) == "fer-attention":
            for other in requirement.extras:
                yield from requirements(other)
        else:
            yield requirement


def brought(extra=None):
    """Names of the distributions of the core and of an extra."""
    everything = [*requirements(), *(requirements(extra) if extra else ())]
    return {canonicalize_name(requirement.name) for requirement in everything}


def foreign_imports(tree, extra=None):
    """(extra that the nearest `needs_extra` names, distribution) of every import of another project."""
    for node in ast.iter_child_nodes(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names | {"fer_attention"}:
                yield extra, canonicalize_name(DISTRIBUTIONS.get(top, top))
        inner = extra
        if isinstance(node, ast.With):
            for call in (item.context_expr for item in node.items):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "needs_extra":
                    named = call.args[0]  # a variable is the caller's extra: "faces" or "export"
                    inner = named.value if isinstance(named, ast.Constant) else "faces"
        yield from foreign_imports(node, inner)


def test_the_oldest_python_is_the_same_everywhere():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert min(named, key=Version) == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest


def test_requirements_have_lower_bounds_only():
    found = {str(requirement) for extra in (None, *EXTRAS) for requirement in requirements(extra)}
    others = {text for text in found if not re.fullmatch(r"[\w.-]+(\[\w+\])?>=[\d.]+", text)}
    assert others == {"facenet-pytorch<2.6,>=2.5.3"}  # 2.6 pins torch


def test_a_library_has_the_same_bound_in_every_extra():
    bounds = {}
    for extra in (None, *EXTRAS):
        for requirement in requirements(extra):
            bounds.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}


def test_every_import_comes_from_the_core_or_the_extra_in_its_error():
    sources = {extra: brought(extra) for extra in EXTRAS}
    sources[None] = set().union(*sources.values())  # without a `needs_extra` around: looked at elsewhere
    found = [
        (path.relative_to(ROOT).as_posix(), extra, distribution)
        for path in sorted(PACKAGE.rglob("*.py"))
        for extra, distribution in foreign_imports(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert [where for where in found if where[2] not in sources[where[1]]] == []
    assert {extra for _, extra, _ in found} >= {None, "train", "faces", "study", "export"}


def test_messages_and_documents_name_extras_that_exist():
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    named = set()
    for path in files:
        for group in re.findall(r"(?:fer_attention|'\.)\[([a-z,]+)\]", path.read_text(encoding="utf-8")):
            named |= set(group.split(","))
    assert {"train", "study"} <= named <= set(EXTRAS)


def test_all_and_dev_have_what_the_other_extras_have():
    for extra in EXTRAS:
        assert brought(extra) <= brought("dev") <= brought("all")
    [own] = (Requirement(text) for text in EXTRAS["all"])
    assert own.extras == set(EXTRAS) - {"all"}


def test_the_entry_point_is_the_command_line():
    [(name, value)] = PROJECT["scripts"].items()
    assert name == app.info.name
    assert EntryPoint(name, value, "console_scripts").load() is app


def test_the_check_of_the_wheel_tries_every_command():
    names = [
        " ".join(filter(None, (name, child)))
        for name in COMMANDS_BY_NAME
        for child in getattr(LazyGroup.load(name), "commands", [""])
    ]
    assert uncovered([*names, "a new command"]) == ["a new command"]
    assert {extra for _, extra in COMMANDS} <= {None, *EXTRAS}


def test_the_citation_has_the_version_and_licence_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format demands
    assert citation["version"] == fer_attention.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder of a wheel and an sdist, both built from the tree as it is."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def wheel_of(folder):
    """Contents of the files of the folder's wheel."""
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist_of(folder):
    """Names of the files of the folder's sdist."""
    [path] = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def files_below(*folders):
    """Files of the tree that are not caches."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = (path.relative_to(ROOT) for path in paths)
    return {
        name.as_posix()
        for name in names
        if not any(part.startswith((".", "__pycache__")) for part in name.parts)
    }


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(built):
    wheel = wheel_of(built)
    info = f"fer_attention-{fer_attention.__version__}.dist-info"
    inside = {name for name in wheel if not name.startswith(f"{info}/")}
    assert inside == files_below("fer_attention")
    for pattern in (
        "py.typed", "weights/*.safetensors", "study/studies/*.yaml", "study/paper_results.csv",
        "study/report/templates/*.jinja", "training/recipes/*.yaml", "rendering/page.css", "samples/*.jpg",
        "evaluation/templates/*.jinja", "demo/templates/*", "export/face.png", "export/templates/*.jinja",
        "samples/*.txt",
    ):  # fmt: skip
        assert any(Path(name).match(f"fer_attention/{pattern}") for name in inside), pattern
    metadata = message_from_string(wheel[f"{info}/METADATA"].decode())
    assert metadata["Version"] == fer_attention.__version__
    assert set(metadata.get_all("Provides-Extra")) == set(EXTRAS)
    assert f"{info}/licenses/LICENSE" in wheel


def test_the_sdist_holds_what_the_tests_and_the_documents_need(built):
    sdist = sdist_of(built)
    folders = ("fer_attention", "tests", "docs", "examples", "benchmarks", "tools")
    assert files_below(*folders) <= sdist
    assert {"CITATION.cff", "LICENSE", "Makefile", "conftest.py", "pyproject.toml"} <= sdist
    assert {path.name for path in ROOT.glob("*.md")} <= sdist
    assert {"constraints.txt", ".pre-commit-config.yaml", ".ci/run", ".github/workflows/ci.yml"} <= sdist
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"(?:\]\(|src=\")(?!https?://)([^)#\"]+)", readme):
        assert target in sdist


@pytest.mark.slow
def test_sdist_and_tree_build_equal_wheels_that_twine_accepts(built, tmp_path):
    pytest.importorskip("build")
    pytest.importorskip("twine")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)  # the sdist, and a wheel from it
    assert wheel_of(tmp_path) == wheel_of(built)
    assert sdist_of(tmp_path) == sdist_of(built)
    files = [str(path) for path in tmp_path.iterdir()]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("PASSED") == 2
