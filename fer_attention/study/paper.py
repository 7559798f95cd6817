"""Results of the paper, for comparison: Miskow and Altahhan 2022 (arXiv:2410.17740), all with ELU."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from fer_attention.models import ModelSpec

COLUMNS = {"fer2013": "fer2013", "ckplus": "ckplus", "ck+": "ckplus", "jaffe": "jaffe"}
"""Columns of the paper's table, by the name of a study's data set."""

PROTOCOLS = {
    "fer2013": "one run, Kaggle's train and test folders",
    "ckplus": "highest of three test results, images divided at random: one person on both sides",
    "jaffe": "highest of three test results, images divided at random: one person on both sides",
}
"""Protocol of each column of the paper's table; none of them is a protocol of this package."""

AT_CHANCE = 0.16
"""Accuracies below are at chance: one class of seven, plus the sampling error of 45 test images."""


def published(model: str, data: str) -> float | None:
    """Return the paper's accuracy of a model on a data set, as a share; None if the paper has none."""
    column, row = COLUMNS.get(data.lower()), _table().get(ModelSpec.parse(model).name)
    return None if row is None or column is None else float(row[f"{column}_accuracy"]) / 100


def paper_protocol(data: str) -> str | None:
    """Describe the paper's protocol on a data set; None for a data set that the paper lacks."""
    column = COLUMNS.get(data.lower())
    return None if column is None else PROTOCOLS[column]


def paper_remark(model: str, data: str) -> str | None:
    """Return a remark on an implausible accuracy of the paper; None if there is nothing to remark.

    All four ResNet-152 have 15.66 % on JAFFE, which is chance for seven classes.
    """
    accuracy = published(model, data)
    if accuracy is None or accuracy >= AT_CHANCE:
        return None
    return f"{accuracy * 100:.2f} % is at chance level for seven classes: no training took place"


@cache
def _table() -> dict[str, dict[str, str]]:
    text = (resources.files("fer_attention.study") / "paper_results.csv").read_text(encoding="utf-8")
    return {row["model"]: row for row in csv.DictReader(text.splitlines())}
