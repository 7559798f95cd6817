"""YAML files that anyone may have written: no code, no bombs, errors that name the file and the line."""

import resource
import time

import pytest
import yaml

from fer_attention.study import StudyError, load_study
from fer_attention.training import load_recipe
from fer_attention.training.campaign import load_campaign
from fer_attention.yaml_files import MAX_BYTES, load_yaml

LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, r"line \d+, column \d+: aliases stand for more than 50000 values"),
        (MERGES, r"aliases stand for more than 50000 values"),
        ("a: &a [*a]", "aliases stand for more"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "the tag '.*os.system' is not allowed; write plain values",
        ),
        ("a: 1\nb: !mine 2", "line 2, column 4: the tag '!mine' is not allowed"),
        ("a: " + "9" * 5000, "line 1, column 4: a whole number has too many digits"),
        ("a: 0x" + "f" * 9000, "a whole number has too many digits"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("a: !!int x", "invalid literal"),
        ("[" * 3000, "more than 50 levels of nesting"),
        ("a: " + "{b: " * 60 + "1" + "}" * 60, "more than 50 levels of nesting"),
        ("a: [1", "expected ',' or ']', but got the end of the file|expected ',' or ']'"),
        ("a: \x00", "special characters are not allowed"),
        (b"\xff\xfea", "not valid YAML"),
        ("a: 1\na: 2", "line 2, column 1: the field 'a' is given twice"),
        ("x" * 900 + ": 1\n" + "x" * 900 + ": 2", "given twice"),
        ("1: 2", "must hold named fields; 1 is not a name"),
        ("? [1, 2]\n: 3", "found unhashable key"),
        ("- 1", "must hold named fields; got a list"),
        ("", "must hold named fields; got nothing"),
        ("#" * (MAX_BYTES + 1), "too large for settings"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_damaged_and_hostile_files_are_refused_by_name(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as caught:
        load_yaml(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_aliases_and_merges_of_usual_files_work(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: &base {epochs: 3, lr: 0.1}\nruns: [{<<: *base, seed: 0}, {<<: *base, seed: 1}]\n")
    assert load_yaml(path)["runs"][1] == {"epochs": 3, "lr": 0.1, "seed": 1}


@pytest.mark.parametrize("load", [load_recipe, load_study, load_campaign])
def test_a_value_that_blows_up_is_refused_by_every_reader_without_memory(load, tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(LAUGHS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="aliases stand for more") as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


STUDY = {
    "title": "t",
    "question": "q",
    "factors": {"backbone": "resnet18", "attention": ["none", "se"]},
    "data": {"d": {"data_format": "synthetic"}},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": {"backbone": "resnet18", "fraction": [0.5] * 10_000}}, "0.5 appears twice"),
        ({"factors": {"backbone": ["x" * 100] * 10_000}}, "appears twice"),
        ({"replications": {"seeds": ["x"] * 10_000}}, r"and \d+ more"),
        ({"data": {f"d{i}": {"folds": "x"} for i in range(5000)}}, r"and \d+ more"),
        ({"x" * 10**6: 1}, "Unknown field"),
        ({"replications": {"seeds": 10_000}, "data": {f"d{i}": {} for i in range(99)}}, "at most 100000"),
        (
            {
                "factors": {"backbone": "resnet18", "fraction": [(i + 1) / 10_000 for i in range(10_000)]},
                "comparisons": [{"factor": "fraction", "baseline": 1.0}] * 9_999
                + [{"factor": "fraction", "baseline": 2.0}],
            },
            "Unknown level of fraction 2.0",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_studies_of_ten_thousand_items_are_checked_without_quadratic_work(changes, message, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.dump(STUDY | changes, Dumper=yaml.CSafeDumper))
    start = time.process_time()
    with pytest.raises(StudyError, match=message) as caught:
        load_study(path)
    assert time.process_time() - start < 30
    assert len(str(caught.value)) < 5000


def test_campaigns_of_ten_thousand_runs_are_checked_without_quadratic_work(tmp_path):
    runs = [{"name": f"r{i}", "recipe": "quick", "data": "d"} for i in range(10_000)]
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.dump({"data": {"d": {"path": "x"}}, "runs": runs}, Dumper=yaml.CSafeDumper))
    start = time.process_time()
    assert len(load_campaign(path).runs) == 10_000
    runs[-1]["name"] = "r0"
    path.write_text(yaml.dump({"data": {"d": {"path": "x"}}, "runs": runs}, Dumper=yaml.CSafeDumper))
    with pytest.raises(ValueError, match="Two runs are named 'r0'"):
        load_campaign(path)
    assert time.process_time() - start < 60
