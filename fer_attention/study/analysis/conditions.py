"""Summaries by condition: scores and costs over the runs of one combination of levels."""

from __future__ import annotations

from functools import cache

import pandas as pd

from fer_attention.evaluation import paper_parameters
from fer_attention.models import ModelSpec
from fer_attention.study.analysis.statistics import mean_interval, pareto_front
from fer_attention.study.config import FACTORS, StudyConfig
from fer_attention.study.paper import published

PAPER_ATTENTIONS = ("none", "se", "eca", "cbam")
COSTS = {"parameters": "parameters", "macs": "MACs", "train_seconds": "training", "latency_ms": "latency"}
"""Costs that accuracy is plotted against, with their short names."""


def condition_table(study: StudyConfig, runs: pd.DataFrame) -> pd.DataFrame:
    """Summarise each condition with a finished run: mean scores, median times, and the paper's value.

    Columns: the factors, `condition`, `model`, `n` (runs), `accuracy` with `sd`, `low` and `high`,
    `accuracy_new` (without copies of training images), `balanced_accuracy`, `macro_f1`, `calibration_error`,
    `validation_accuracy`, the costs of `Cost` (`peak_memory_mb` is the maximum), and `published`, only
    for conditions with the most training images, since the paper used all.
    """
    rows = []
    for _, group in runs.groupby(list(FACTORS), sort=False):
        first = group.iloc[0]
        low, high = mean_interval(group["test_accuracy"], alpha=study.alpha)
        rows.append(
            {
                **first[["condition", "model", *FACTORS]],
                "n": len(group),
                "accuracy": group["test_accuracy"].mean(),
                "sd": group["test_accuracy"].std(),
                "low": max(low, 0.0),  # with few runs near a bound, the interval would exceed it
                "high": min(high, 1.0),
                "accuracy_new": group["test_new_accuracy"].astype(float).mean(),
                "balanced_accuracy": group["test_balanced_accuracy"].mean(),
                "macro_f1": group["test_macro_f1"].mean(),
                "calibration_error": group["test_calibration_error"].mean(),
                "validation_accuracy": group["validation_accuracy"].mean(),
                "parameters": first["parameters"],
                "macs": first["macs"],
                "train_seconds": group["train_seconds"].median(),
                "images_per_second": group["images_per_second"].median(),
                "latency_ms": group["latency_ms"].median(),
                "peak_memory_mb": group["peak_memory_mb"].astype(float).max(),
                "published": published(first["model"], str(first["data"]))
                if first["fraction"] == max(study.levels("fraction"))
                and not study.attention(first["attention"]).options
                else None,
            }
        )
    return pd.DataFrame(rows).astype({"published": float}) if rows else pd.DataFrame()


def pareto_fronts(conditions: pd.DataFrame) -> pd.DataFrame:
    """Mark the Pareto front of accuracy and each cost among the conditions with the most training images.

    The columns are `front_<cost>`: true if no other condition on the data set is both cheaper and better.
    """
    shown = conditions[conditions["fraction"] == conditions["fraction"].max()]
    parts = [
        group.assign(**{f"front_{cost}": pareto_front(group[cost], group["accuracy"]) for cost in COSTS})
        for _, group in shown.groupby("data", sort=False)
    ]
    return pd.concat(parts)


@cache  # it builds a model, which may occur in many conditions
def paper_parameter_count(model: str) -> int | None:
    """Count parameters by the paper's convention; None for a block or family that the paper lacks."""
    spec = ModelSpec.parse(model)
    counted = spec.attention in PAPER_ATTENTIONS and spec.traits.paper_biases is not None
    return paper_parameters(model) if counted else None


def bias_table(layers: pd.DataFrame) -> pd.DataFrame:
    """Average the mean activation of each layer over runs, by backbone and activation: the bias shift.

    Only layers whose activation is varied are included (gates keep their own), of backbones with two measured
    activations or more. Columns: `backbone`, `layer`, `activation`, `mean`, `size` (mean of |mean|), `runs`;
    layers in network order.
    """
    if not len(layers) or layers["activation"].nunique() < 2:
        return pd.DataFrame()
    kinds = layers.groupby(["backbone", "layer"])[["kind", "activation"]].transform("nunique")
    measured = layers.groupby("backbone")["activation"].transform("nunique")
    varied = layers[(kinds["kind"] > 1) & (kinds["activation"] == measured)]
    return (
        varied.assign(size=varied["mean"].abs())
        .groupby(["backbone", "layer", "activation"], sort=False)
        .agg(mean=("mean", "mean"), size=("size", "mean"), runs=("mean", "size"))
        .reset_index()
    )
