"""Published studies in docs/studies: reports agree with their records, and the documentation quotes them."""

import re

import pytest

pytest.importorskip("statsmodels")

import pandas as pd  # noqa: E402

from fer_attention.study import expand, load_study  # noqa: E402
from fer_attention.study.analysis import answers  # noqa: E402
from fer_attention.study.report.names import renamed_levels  # noqa: E402
from fer_attention.study.report.numbers import equals, points  # noqa: E402
from tests.support.paths import ROOT

STUDIES = sorted(path.parent.parent for path in (ROOT / "docs" / "studies").glob("*/report/records.csv"))


def report(folder):
    return (folder / "report" / "report.md").read_text(encoding="utf-8").replace("&lt;", "<")


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_published_records_hold_all_planned_runs(folder):
    planned = expand(load_study(folder.name))
    runs = pd.read_csv(folder / "report" / "records.csv")
    done = {(*row[:-2], row[-2], row[-1]) for row in runs[[*planned[0].factors, "seed", "fold"]].to_numpy()}
    assert done == {(*run.factors.values(), run.seed, run.fold) for run in planned}


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_published_reports_agree_with_their_records(folder):
    study = load_study(folder.name)
    found = answers(study, pd.read_csv(folder / "report" / "records.csv"))
    text, names = report(folder), dict(renamed_levels(study))
    for row in found.comparisons[found.comparisons["pooled"]].to_dict("records"):
        assert (
            f"- {names[row['level']]} vs. {names[row['baseline']]}: {points(row['mean'])} points "
            f"(95 % interval {points(row['low'])} to {points(row['high'])}, n = {row['n']} pairs, "
            f"Holm-adjusted p {equals(row['p_holm'])}"
        ) in text
    for row in found.contrasts.to_dict("records"):
        levels = f"{names[row['first']]} with {names[row['second']]}"
        assert f"- {levels}: {points(row['mean'])} points compared with the sum" in text


def test_the_guide_to_studies_quotes_the_smoke_report():
    page = " ".join((ROOT / "docs" / "studies.md").read_text(encoding="utf-8").split())
    found = re.findall(
        r"^- (\w+) vs\. (?:no attention|ReLU): .(\d\.\d\d) points \(95 % interval .(\d\.\d\d) to .(\d\.\d\d)",
        report(ROOT / "docs" / "studies" / "smoke"),
        re.M,
    )
    assert [name for name, *_ in found] == ["SE", "ECA", "CBAM", "ELU"]
    for _, difference, one, other in found:
        low, high = sorted((one, other))
        assert re.search(rf"{difference}(?: points)? \((?:95 % interval )?{low} to {high}", page), difference
