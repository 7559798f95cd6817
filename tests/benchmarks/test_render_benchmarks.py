"""docs/benchmarks.md: verdicts on the bars, and tables and figures of the records."""

import doctest
import re

import cost_tables
import pytest
import timing
from bars import BARS, MET, MISSED, NOT_MEASURED, verdicts
from cost_plots import digest, draw, figures
from cost_record import Case, read_records, write_record
from pydantic import ValidationError
from render_benchmarks import document

from tests.support.benchmark_scripts import case, record
from tests.support.paths import ROOT

TIMES = {"none plain": 100, "none timm": 101, "se plain": 110, "se timm": 108, "cbam fused": 115.0}
"""SE above its bar in training, CBAM below."""

MIB = {"none plain": 400, "none timm": 400, "se plain": 420, "se timm": 430, "cbam fused": 460.0}


def block(times, **facts):
    return case(times, subject="block", base="product plain", **facts)


def verdict_words(records):
    return {one.bar.text: one.word for one in verdicts(records)}


def test_the_page_without_records_marks_everything_as_not_measured():
    assert set(verdict_words({}).values()) == {NOT_MEASURED}
    page = document({})
    assert page.count("| not measured |") == len(BARS)
    assert page.count("| CPU |  | not") + page.count("| GPU |  | not") == len(BARS)
    assert page.count("Not measured.") == 9
    assert "](images/" not in page


def test_bars_compare_the_median_ratio_to_the_plain_network():
    found = verdict_words({"a.json": record(case(TIMES, memory=MIB))})
    assert found["SE, ResNet-50 80×80, training: time over the plain network's ≤ 1.06"] == MISSED
    assert found["CBAM, ResNet-50 80×80, training: time over the plain network's ≤ 1.20"] == MET
    assert found["CBAM, ResNet-50 80×80, training: peak memory over the plain network's ≤ 1.10"] == MISSED
    assert found["ECA, ResNet-50 80×80, training: time over the plain network's ≤ 1.05"] == NOT_MEASURED
    assert found["SE, ResNet-50 80×80, inference: time over the plain network's ≤ 1.04"] == NOT_MEASURED


@pytest.mark.parametrize(
    "other",
    [
        record(case(TIMES, batch=16)),
        record(case(TIMES, size=48)),
        record(case(TIMES, subject="resnetv2_50")),
        record(case(TIMES), device="cuda", dtype="bfloat16"),
        record(case(TIMES), dtype="bfloat16"),
        record(case(TIMES), section="grid"),
    ],
    ids=["batch", "size", "network", "device", "type", "section"],
)
def test_bars_apply_to_one_setting_only(other):
    assert set(verdict_words({"a.json": other}).values()) == {NOT_MEASURED}


def test_the_default_variant_is_compared_before_fused_and_plain():
    times = {"none plain": 100, "se plain": 120, "se fused": 110, "se auto": 105.0}
    measured = [one for one in verdicts({"a.json": record(case(times))}) if one.value]
    assert [(one.ours, one.word) for one in measured] == [("se auto", MET)]


def test_a_block_must_be_faster_on_every_map():
    maps = [
        block({"product plain": 1, "cbam fused": ours, "cbam timm": 10.0}, size=size, mode=mode)
        for size, ours in ((48, 2), (80, 5))
        for mode in ("inference", "training")
    ]
    found = [one.word for one in verdicts({"a.json": record(*maps, section="blocks")}) if one.value]
    assert found == [MET, MISSED]
    page = document({"a.json": record(*maps, section="blocks")})
    assert "| `cbam fused` 2.00 to 5.00 on 2 maps | **missed** (met on 1 of 2) |" in page


def test_losses_are_listed_and_a_missed_bar_adds_the_profile_section():
    page = document({"a.json": record(case(TIMES, memory=MIB))})
    losses = page.split("## Where ours is slower")[1].split("##")[0]
    assert "| `se plain` | `se timm` | 1.019 " not in losses  # within its interval
    slow = {**TIMES, "se plain": 130}
    assert "| `se plain` | `se timm` | 1.204 (1.180 to 1.228) |" in document({"a.json": record(case(slow))})
    assert "## Time by operator" in page
    assert "| `cbam fused` | 115 ± 12 | 1.150 (1.127 to 1.173) | 460 | 1.150 |" in page
    assert "## Time by operator" not in document({"a.json": record(case({"none plain": 1, "se plain": 1}))})


def test_ratios_can_be_requested_in_either_direction():
    one = case(TIMES)
    inverted = one.ratio("se timm", "se plain")
    assert (inverted.of, inverted.to, inverted.median) == ("se timm", "se plain", pytest.approx(108 / 110))
    assert (inverted.low, inverted.high) == pytest.approx((108 / 110 / 1.02, 108 / 110 / 0.98))
    assert one.ratio("se plain", "cbam fused") is None


def test_records_reject_unknown_fields_and_candidates():
    good = case(TIMES).model_dump()
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Case.model_validate({**good, "sise": 80})
    with pytest.raises(ValidationError, match="no candidate none plane; known: none plain"):
        Case.model_validate({**good, "base": "none plane"})
    with pytest.raises(ValidationError, match="a candidate is listed twice"):
        Case.model_validate({**good, "candidates": good["candidates"] * 2})


def test_records_can_be_read_back_and_duplicate_cases_are_rejected(tmp_path):
    one = record(case(TIMES, memory=MIB))
    write_record(tmp_path / "a.json", one)
    assert read_records(tmp_path) == {"a.json": one}
    write_record(tmp_path / "b.json", record(case(TIMES), activation="relu"))
    assert len(read_records(tmp_path)) == 2
    write_record(tmp_path / "c.json", one)
    with pytest.raises(
        ValueError, match=r"c.json and a.json both hold .*'resnet50', 'training', 80.*; keep one"
    ):
        read_records(tmp_path)


def test_figures_are_drawn_for_the_available_records(tmp_path):
    pytest.importorskip("matplotlib")
    times = {"product plain": 1, "se plain": 2, "se timm": 3.0}
    blocks = (block(times, mode=mode) for mode in ("inference", "training"))
    records = {
        "a.json": record(case(TIMES), case(TIMES, mode="inference")),
        "b.json": record(*blocks, section="blocks"),
    }
    drawn = draw(records, tmp_path)
    assert sorted(path.name for path in drawn) == sorted(figures(records))
    for path in drawn:
        assert f"images/{path.name})" in document(records)
        assert digest(figures(records)[path.name]) in path.read_text(encoding="utf-8")
    before = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in draw(records, tmp_path)] == before


def test_the_document_and_its_figures_are_up_to_date():
    records = read_records()
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert page == document(records), "run python benchmarks/render_benchmarks.py"
    shown = re.findall(r"\]\(images/([^)]+)\)", page)
    assert sorted(shown) == sorted(figures(records))
    for name, cases in figures(records).items():
        assert digest(cases) in (ROOT / "docs" / "images" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("module", [cost_tables, timing], ids=lambda module: module.__name__)
def test_the_examples_of_the_scripts_run(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
