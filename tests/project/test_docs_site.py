"""The documentation site builds, strictly, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from html import unescape

import pytest
import yaml

from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={"PATH": "", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_the_site_builds_without_a_broken_link_or_reference(site):
    assert (site / "index.html").is_file()
    assert "resnetv2_50_cbam_elu" in (site / "index.html").read_text(encoding="utf-8")


def test_the_site_shows_the_docstrings_of_the_public_names(site):
    import fer_attention

    pages = "".join(path.read_text(encoding="utf-8") for path in (site / "api").rglob("*.html"))
    for name in fer_attention.__all__:
        assert re.search(rf'id="fer_attention[\w.]*\.{name}"', pages), name


def test_the_page_on_plug_ins_shows_the_example_as_it_is(site):
    page = re.sub("<[^>]+>", "", (site / "plugins" / "index.html").read_text(encoding="utf-8"))
    package = ROOT / "examples" / "plugin" / "fer_attention_mirror"
    for file in (ROOT / "examples" / "energy_block.py", *package.glob("*.py")):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert unescape(page).count(lines[0]) == 1, file.name
        assert lines[-1] in unescape(page), file.name


def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*src="(https?:[^"]+)', text)
        loaded += re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="(https?:[^"]+)', text)
        assert not loaded, page


def test_the_citation_names_the_version_and_the_paper():
    import fer_attention

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == fer_attention.__version__
    assert citation["preferred-citation"]["url"] == "https://arxiv.org/abs/2410.17740"
