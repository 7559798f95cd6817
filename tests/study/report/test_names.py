"""Readable names of levels in reports; files of numbers have the names of the study."""

import re

import pytest

pytest.importorskip("statsmodels")

import pandas as pd  # noqa: E402

from fer_attention.activations import ACTIVATIONS  # noqa: E402
from fer_attention.attention.base import ATTENTIONS, CONTROLS, AttentionBlock  # noqa: E402
from fer_attention.study.report import write_report  # noqa: E402
from fer_attention.study.report.names import level_name, renamed_levels  # noqa: E402
from tests.support.study_records import make_study  # noqa: E402
from tests.support.tiny_studies import tiny_study  # noqa: E402

OPEN = {"name": "se", "options": {"start": "open"}, "label": "se-open"}
LABELS = ("none", "se", "se-open", "relu", "elu")


def names(*levels):
    study = tiny_study(factors__attention=list(levels))
    return [level_name(study, "attention", level) for level in study.levels("attention")]


def test_every_block_has_its_own_title():
    titles = [block.title for block in [*ATTENTIONS.values(), *CONTROLS.values()]]
    assert all(titles)
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("level", "name"),
    [
        ("none", "no attention"),
        ("cbam", "CBAM"),
        (OPEN, "SE with open gates"),
        ({"name": "eca", "options": {"start": "published"}}, "ECA with published gates"),
        ({"name": "se", "options": {"start": "open", "reduction": 4}}, "SE with open gates and reduction 4"),
        ({"name": "cbam", "options": {"kernel_size": 3}, "label": "small"}, "CBAM with kernel size 3"),
        ("constant", "a learned constant per channel"),
        ("triplet", "triplet attention"),
    ],
    ids=str,
)
def test_a_level_of_attention_is_named_after_its_block_and_options(level, name):
    assert names(level) == [name]


def test_a_block_without_a_title_has_its_registered_name(monkeypatch):
    monkeypatch.setattr(ATTENTIONS["se"], "title", AttentionBlock.title)
    assert names(OPEN) == ["se with open gates"]


def test_activations_are_named_after_their_classes():
    study = tiny_study(factors__activation=["relu", "elu", "gelu_tanh"])
    assert [level_name(study, "activation", level) for level in study.levels("activation")] == [
        "ReLU",
        "ELU",
        "GELUTanh",
    ]
    assert all(level_name(study, "activation", name) for name in ACTIVATIONS)


def test_only_files_of_numbers_have_the_names_of_the_study(tmp_path):
    factors = {
        "backbone": ["vgg11", "vgg16"],
        "attention": ["none", "se", OPEN],
        "activation": ["relu", "elu"],
        "fraction": [0.5, 1.0],
    }

    def effect(factors, seed, fold):
        return (0.02 + 0.001 * seed) * (factors["attention"] == "se-open")

    questions = {"interactions": [{"first": "attention", "second": "activation"}]}
    store = make_study(tmp_path, factors, effect=effect, seeds=3, **questions)
    report = write_report(tmp_path)
    text = report.with_name("report.md").read_text()
    shown = text.split("<summary>How to reproduce it</summary>")[0]
    shown += "".join(path.read_text() for path in report.parent.glob("*/*.tex"))
    shown += "".join(
        " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))
        for path in report.parent.glob("plots/*.svg")
    )
    assert "SE with open gates" in shown
    shown = shown.replace("test-time augmentation: none", "")
    assert not re.findall(rf"(?<![\w.-])(?:{'|'.join(LABELS)})(?![\w-])", shown)
    for level, name in renamed_levels(store.manifest().study):
        assert f"- {level}: {name}\n" in text
    records = pd.read_csv(report.with_name("records.csv"))
    assert set(records["attention"]) == {"none", "se", "se-open"}
    compared = pd.read_csv(report.parent / "tables" / "comparisons.csv")
    assert set(compared["level"]) >= {"se-open", "elu"}
    written = (report.parent / "tables" / "contrasts.csv").read_text() + report.with_name(
        "records.csv"
    ).read_text()
    assert "open gates" not in written + compared.to_csv()
