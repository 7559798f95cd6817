import json
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import torch

from fer_attention.emotions import FER2013
from fer_attention.evaluation import ALL, NEW, EvaluationReport, classification_metrics
from fer_attention.registry import UnknownNameError

EVIL = "<script>alert('1')</script>"


def metrics(*, n=60, names=FER2013, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(names) - 1, n)  # the last class does not occur
    return classification_metrics(generator.dirichlet(np.ones(len(names)), n), labels, names)


def report(**changes):
    facts = {
        "weights": "a.safetensors",
        "model": "resnet18_se",
        "parameters": 1_234_567,
        "data": "faces.zip",
        "split": "private",
        "results": {ALL: metrics(), NEW: metrics(n=40)},
        "record": {"seed": 0, "config": {"model": "resnet18_se"}},
        "dropped": {"contempt": 3},
        "notes": ("20 of the 60 images are copies.",),
        "machine": "one core",
        "seconds": 1.5,
    }
    return EvaluationReport(**{**facts, **changes})


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split()).replace("\u202f", " ")


def test_json_holds_every_fact_and_number(tmp_path):
    made = report()
    made.write_json(tmp_path / "r.json")
    record = json.loads((tmp_path / "r.json").read_text())
    assert record == made.to_dict()
    assert record["results"][NEW] == made.results[NEW].to_dict()
    facts = ("weights", "model", "parameters", "data", "split", "n", "tta", "record", "machine", "seconds")
    assert [record[fact] for fact in facts] == [
        "a.safetensors", "resnet18_se", 1_234_567, "faces.zip", "private", 60, "none",
        {"seed": 0, "config": {"model": "resnet18_se"}}, "one core", 1.5,
    ]  # fmt: skip
    assert record["versions"]["torch"] == torch.__version__


def test_the_page_is_self_contained():
    text = report().to_html()
    assert "://" not in text
    assert "@import" not in text
    assert text.count("url(") == text.count("url(#")
    tags = Page(text).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "img", "object", "embed"}
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in tags:
        assert not {"src", "srcset", "data"} & set(attributes)
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#" + ids[0])[1:] in ids


def test_the_page_shows_the_numbers_and_explains_them():
    made = report()
    text = Page(made.to_html()).text
    for result in made.results.values():
        right = result.accuracy
        assert f"{right.value * 100:.2f} %" in text
        assert f"{right.low * 100:.2f} to {right.high * 100:.2f} %" in text
        assert f"n = {result.n}" in text
        assert f"{result.reliability.ece * 100:.2f} %" in text
        assert str(result.confusions(1)[0]) in text
    for said in ("1,234,567 parameters", "3 labelled contempt", "20 of the 60 images", "one core", "1.5 s"):
        assert said in text
    assert text.count("A row holds the images of one class") == 2


def test_the_page_can_be_read_by_a_screen_reader():
    tags = Page(report().to_html()).tags
    assert ("html", {"lang": "en"}) in tags
    headers = [attributes for tag, attributes in tags if tag == "th"]
    assert all(attributes["scope"] in ("row", "col") for attributes in headers)
    pictures = [attributes["aria-label"] for _, attributes in tags if attributes.get("role") == "img"]
    assert len(pictures) == len([tag for tag, _ in tags if tag == "svg"]) == 4
    assert all(len(words) > 40 for words in pictures)


def test_names_from_outside_are_text_and_never_markup():
    names = (EVIL, "$x$", "a & b", "--> x", "neutral")
    made = report(
        weights=EVIL, data=EVIL, split=EVIL, machine=EVIL, notes=(EVIL,), dropped={EVIL: 1},
        record={EVIL: EVIL}, versions={EVIL: EVIL}, results={EVIL: metrics(names=names)},
    )  # fmt: skip
    text = made.to_html()
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert EVIL not in text
    assert page.text.count(EVIL) >= 15
    assert "--> x" in page.text


def settings():
    """matplotlib's, but for the backend: asking for it imports pyplot."""
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


def test_plots_keep_the_state_of_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would fail
    before = settings()
    assert report().to_html() == report().to_html()
    assert settings() == before


def test_a_report_without_results_or_with_unknown_views_is_refused():
    with pytest.raises(ValueError, match="at least one result"):
        report(results={})
    with pytest.raises(UnknownNameError, match="Did you mean 'flip'"):
        report(tta="flips")


@pytest.mark.parametrize("module", ["matplotlib.figure"])
def test_a_missing_library_is_named_with_its_extra(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"fer_attention\[train\]"):
        report().write_html(tmp_path / "r.html")
    assert not list(tmp_path.iterdir())
