"""The files around the package: workflows, hooks, pinned dependencies, generated files, the changelog."""

import re
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import fer_attention
from tests.support.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OLDEST = PROJECT["requires-python"].removeprefix(">=")
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
GENERATED = {
    "README.md": ["python tools/generate_models.py", "python benchmarks/pretrained.py render"],
    "benchmarks/schema.json": ["python benchmarks/cost_record.py"],
    "constraints.txt": ["make constraints"],
    "docs/commands.md": ["python tools/generate_commands.py"],
    "docs/benchmarks.md": ["python benchmarks/render_benchmarks.py"],
    "docs/faces.md": ["python tools/generate_faces_figure.py"],
    "docs/models.md": ["python tools/generate_models.py"],
    "docs/pretrained.md": ["python benchmarks/pretrained.py render"],
}


def workflow(name):
    """A workflow; YAML reads its key `on` as True."""
    return yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))


def constraints():
    """The pins of constraints.txt."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return [Requirement(line) for line in text.splitlines() if not line.lstrip().startswith("#")]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_can_only_read_unless_a_job_says_otherwise(name):
    found = workflow(name)
    assert found["permissions"] == {"contents": "read"}
    assert found["concurrency"]["group"]
    assert all(job["timeout-minutes"] <= 150 for job in found["jobs"].values())


def test_ci_runs_everything_on_the_oldest_python_and_the_tests_on_each():
    jobs = workflow("ci")["jobs"]
    assert jobs["everything"]["steps"][-1]["run"] == ".ci/run"
    assert {"python-version": OLDEST}.items() <= jobs["everything"]["steps"][1]["with"].items()
    tried = jobs["tests"]["strategy"]["matrix"]["python"]
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert set(claimed) <= set(tried)
    assert tried == [f"3.{minor}" for minor in range(Version(OLDEST).minor, Version(tried[-1]).minor + 1)]


def test_a_tag_is_published_from_an_environment_without_a_token():
    found = workflow("release")
    assert found[True] == {"push": {"tags": ["v*"]}}
    publish = found["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["name"] == "pypi"
    assert "secrets." not in WORKFLOWS["release"].read_text(encoding="utf-8")


def test_hooks_run_the_tools_of_make_test():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    recipe = re.search(r"^test: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    tools = set(re.findall(r"\$\(BIN\)/([\w-]+)", recipe[1])) - {"pytest"}
    assert tools == {entry.split()[0].removeprefix(".venv/bin/") for entry in entries if ".venv" in entry}


def test_constraints_pin_what_the_developers_extra_needs_within_its_bounds():
    pinned = {}
    for pin in constraints():
        [specifier] = pin.specifier
        assert (specifier.operator, pin.url, pin.extras) == ("==", None, set())
        pinned.setdefault(canonicalize_name(pin.name), []).append(Version(specifier.version))
    asked = [
        *PROJECT["dependencies"],
        *(text for some in PROJECT["optional-dependencies"].values() for text in some),
    ]
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        if name != "fer-attention":
            assert all(version in requirement.specifier for version in pinned[name]), name


def test_constraints_name_no_address():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "://" in line or line.startswith("-")]


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_names_the_command_that_makes_it(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    if name != "README.md":  # two of its tables are generated
        text = text[:600]
    for command in GENERATED[name]:
        assert command in text
        script = re.search(r"\S+\.py", command)
        assert script is None or (ROOT / script[0]).is_file()


def test_the_changelog_has_a_section_for_the_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", text, re.M)
    assert fer_attention.__version__ in dict(sections)
    for version, date in sections:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", date) or version in ("Unreleased", fer_attention.__version__)


def test_releasing_and_contributing_name_targets_that_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for name in ("RELEASING.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"\bmake ([a-z][\w-]+)", (ROOT / name).read_text(encoding="utf-8")))
        assert {"test-wheel", "test-minimum"} <= named <= targets
