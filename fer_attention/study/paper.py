"""The paper's numbers, to stand beside ours: Miskow and Altahhan 2022 (arXiv:2410.17740), all with ELU."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from fer_attention.models import ModelSpec

COLUMNS = {"fer2013": "fer2013", "ckplus": "ckplus", "ck+": "ckplus", "jaffe": "jaffe"}
"""A study's data sets, and the paper's columns."""

PROTOCOLS = {
    "fer2013": "one run, Kaggle's train and test folders",
    "ckplus": "highest of three test results, images divided at random: one person on both sides",
    "jaffe": "highest of three test results, images divided at random: one person on both sides",
}
"""What each of the paper's columns measures; none of it is a protocol of ours."""

AT_CHANCE = 0.16
"""Below it is chance: one class of seven, with what a test set of 45 images leaves to luck."""


def published(model: str, data: str) -> float | None:
    """The paper's accuracy of a model on a data set of a study, by name, a share; None where it has none."""
    column, row = COLUMNS.get(data.lower()), _table().get(ModelSpec.parse(model).name)
    return None if row is None or column is None else float(row[f"{column}_accuracy"]) / 100


def paper_protocol(data: str) -> str | None:
    """What the paper's accuracy on a data set measures; None for a set that it has not."""
    column = COLUMNS.get(data.lower())
    return None if column is None else PROTOCOLS[column]


def paper_remark(model: str, data: str) -> str | None:
    """What is wrong with one of the paper's accuracies; None where nothing is, or where it has none.

    All four ResNet-152 stand at 15.66 % on JAFFE, at chance for seven classes.
    """
    accuracy = published(model, data)
    if accuracy is None or accuracy >= AT_CHANCE:
        return None
    return f"{accuracy * 100:.2f} % is about one class out of seven: at chance, no training took place"


@cache
def _table() -> dict[str, dict[str, str]]:
    text = (resources.files("fer_attention.study") / "paper_results.csv").read_text(encoding="utf-8")
    return {row["model"]: row for row in csv.DictReader(text.splitlines())}
