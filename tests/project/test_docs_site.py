"""The documentation site builds, strictly, and loads nothing from elsewhere."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from html import unescape

import pytest
import yaml

from tests.support.browsers import browser_path
from tests.support.paths import ROOT

INITS = sorted((ROOT / "fer_attention").glob("*/__init__.py"))
PACKAGES = ["fer_attention"] + [
    f"fer_attention.{path.parent.name}" for path in INITS if "__all__" in path.read_text(encoding="utf-8")
]


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


@pytest.fixture(scope="module")
def api_pages(site):
    return "".join(path.read_text(encoding="utf-8") for path in sorted((site / "api").rglob("*.html")))


@pytest.mark.parametrize("package", PACKAGES)
def test_the_site_shows_every_public_class_and_function(api_pages, package):
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert re.search(rf'id="fer_attention[\w.]*\.{name}"', api_pages), name


def test_examples_of_docstrings_are_code_in_the_site(api_pages):
    assert "<blockquote>" not in api_pages  # as Markdown reads >>>
    assert "doctest:" not in api_pages
    assert api_pages.count("&gt;&gt;&gt; ") > 100


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_site_shows_a_notebook_with_its_outputs(site, path):
    page = (site / "notebooks" / path.stem / "index.html").read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    pictures = re.findall(r'<img alt="Output[^>]*src="\.\./([^"]+)"', page)
    assert len(pictures) == sum(kind.startswith("image/") for kind in kinds)
    assert all((site / "notebooks" / name).stat().st_size > 500 for name in pictures)
    markdown = ["".join(output.get("data", {}).get("text/markdown", "")) for output in outputs]
    tables = sum("\n| " in text for text in markdown)
    assert page.count("<table>") == kinds.count("text/html") + tables
    shown = " ".join(unescape(re.sub("<[^>]+>", "", page)).split())
    for output in outputs:
        assert " ".join("".join(output.get("text", "")).split()) in shown
    assert (site / "notebooks" / path.name).read_bytes() == path.read_bytes()


def contents_and_page(site, study):
    """Links of the table of contents of a study's page, and the page without it."""
    page = (site / "studies" / study / "report" / "report" / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<nav class="md-nav md-nav--secondary".*?</nav>\s*</div>', page, re.S)[-1]
    (article,) = re.findall(r"<article.*</article>", page, re.S)
    return re.findall(r'href="#([^"]+)"', links), article


@pytest.mark.parametrize("study", ["smoke", "open_gates", "open_gates_full"])
def test_contents_list_folded_sections_not_the_headings_inside(site, study):
    links, article = contents_and_page(site, study)
    sections = re.findall(r'<details id="([^"]+)">(.*?)</details>', article, re.S)
    assert len(sections) == article.count("<details") >= 8
    assert [link for link in links if link in dict(sections)] == [name for name, _ in sections]
    inside = {name for _, text in sections for name in re.findall(r' id="([^"]+)"', text)}
    assert len(inside) >= 8
    assert not inside & set(links)


@pytest.mark.slow
def test_a_link_opens_the_folded_section_that_it_leads_to(site):
    sync_api = pytest.importorskip("playwright.sync_api")
    path = browser_path()
    address = (site / "studies" / "smoke" / "report" / "report" / "index.html").as_uri()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        assert page.locator("details[open]").count() == 0
        section = page.locator("details#do-the-gains-add-up")
        for _ in range(2):  # the second click does not change the address
            page.click(".md-sidebar--secondary a[href='#do-the-gains-add-up']")
            sync_api.expect(section).to_have_attribute("open", "")
            section.locator("summary").click()
            sync_api.expect(section).not_to_have_attribute("open", "")
        page.goto("about:blank")
        page.goto(f"{address}#bias-shift")  # a heading within a section
        sync_api.expect(page.locator("#bias-shift")).to_be_in_viewport()
        browser.close()


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
