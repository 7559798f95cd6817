"""The studies in docs/studies: their reports follow from their records, and the documents quote them."""

import re
import shutil
from pathlib import Path

import pytest

from fer_attention.study import load_study, read_records
from fer_attention.study.report import write_report
from fer_attention.study.store import Store

ROOT = Path(__file__).parent.parent
STUDIES = sorted(path.parent for path in (ROOT / "docs" / "studies").glob("*/study.json"))


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_its_records_are_whole_and_all_that_it_planned(folder):
    manifest, records = Store(folder).manifest(), read_records(folder)
    assert set(records.runs) == {run.id for run in manifest.runs}
    assert not records.set_aside
    assert manifest.study == load_study(folder.name)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_its_report_is_what_its_records_say(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "study", ignore=shutil.ignore_patterns("report"))
    written = write_report(tmp_path / "study")
    for made in (written.markdown, written.csv):
        kept = folder / "report" / made.name
        assert made.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), "report it anew"


def test_the_page_on_studies_quotes_the_report_of_smoke():
    page = " ".join((ROOT / "docs" / "studies.md").read_text(encoding="utf-8").split())
    text = (ROOT / "docs" / "studies" / "smoke" / "report" / "report.md").read_text(encoding="utf-8")
    found = re.findall(
        r"^- (\w+) - \w+: .(\d\.\d\d) points \(95 % interval .(\d\.\d\d) to .(\d\.\d\d)", text, re.M
    )
    assert [name for name, *_ in found] == ["se", "eca", "cbam", "elu"]
    for _, difference, one, other in found:
        low, high = sorted((one, other))
        assert re.search(rf"{difference}(?: points)? \((?:95 % interval )?{low} to {high}", page), difference
