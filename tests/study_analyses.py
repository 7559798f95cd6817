"""Made-up studies for the tests of the report: true records and their analysis, no files."""

import functools
import hashlib
import itertools
from dataclasses import replace
from unittest import mock

import numpy as np

from fer_attention.evaluation import paper_parameters
from fer_attention.study.analysis import analyse
from fer_attention.study.config import StudyConfig
from fer_attention.study.grid import conditions
from fer_attention.study.records import (
    Cost,
    DataFacts,
    LayerActivation,
    Predictions,
    Records,
    RunRecord,
    Scores,
)
from fer_attention.study.store import Manifest, PlannedRun

TWO_BY_TWO = {
    "factors": {"backbone": "vgg16", "attention": ["none", "se"], "activation": ["relu", "elu"]},
    "comparisons": [
        {"factor": "attention", "baseline": "none"},
        {"factor": "activation", "baseline": "relu"},
    ],
    "interactions": [{"first": "attention", "second": "activation"}],
}
TEST_IMAGES = 500

counted_once = functools.cache(paper_parameters)  # it builds models


def make_study(**fields):
    return StudyConfig.model_validate(
        {"title": "A study", "question": "Does it help?", "data": {"fer2013": {}}, **fields}
    )


class MadeUpRecords(Records):
    """Records whose predictions are in no file."""

    def predictions(self, run_id):
        right = round(self.runs[run_id].test.accuracy * TEST_IMAGES)
        predicted = (np.arange(TEST_IMAGES) >= right).astype(np.int64)
        return Predictions(
            names=np.arange(TEST_IMAGES).astype(str),
            groups=None,
            labels=np.zeros(TEST_IMAGES, np.int64),
            predicted=predicted,
            probabilities=np.eye(2, dtype=np.float32)[predicted],
            copies=np.zeros(TEST_IMAGES, bool),
        )


def make_records(study, *, seeds=4, folds=1, gain=lambda factors: 0.0, noise=0.004, epochs=3):
    """The manifest and records of a study whose conditions differ by `gain(factors)`, all runs finished."""
    generator = np.random.default_rng(0)
    replications = list(itertools.product(range(seeds), range(folds)))
    luck = {one: generator.normal(0, noise) for one in replications}
    runs = [
        make_run(factors, one, 0.6 + gain(factors) + luck[one], generator, noise, epochs)
        for one in replications
        for factors in conditions(study)
    ]
    planned = [
        PlannedRun(
            id=run.id,
            title=f"{run.model}, {run.data.name}, seed {run.seed}, fold {run.fold}",
            factors=run.factors,
            seed=run.seed,
            fold=run.fold,
        )
        for run in runs
    ]
    return Manifest(study=study, runs=tuple(planned)), MadeUpRecords({run.id: run for run in runs})


def make_analysis(study, *, changes=None, **options):
    """The analysis of such a study, with `changes` of its fields."""
    with mock.patch("fer_attention.study.conditions.paper_parameters", counted_once):
        return replace(analyse(*make_records(study, **options)), **(changes or {}))


def make_run(factors, replication, accuracy, generator, noise, epochs):
    seed, fold = replication
    accuracy = round((accuracy + generator.normal(0, noise)) * TEST_IMAGES) / TEST_IMAGES
    slow = {"none": 1.0, "se": 1.1, "cbam": 1.4}.get(factors["attention"], 1.2)
    elu = factors["activation"] == "elu"
    layers = [
        ("stem.act", "ELU" if elu else "ReLU", (0.02 if elu else 0.4) + generator.normal(0, 0.01)),
        ("stages.0.act", "ELU" if elu else "ReLU", (-0.1 if elu else 0.3) + generator.normal(0, 0.01)),
    ]
    if factors["attention"] == "se":
        layers.append(("stages.0.gate.act", "ReLU", 0.2))
    parts = (factors["backbone"], factors["attention"], factors["activation"])
    name = "_".join(part for part in parts if part not in ("none", "relu"))
    return RunRecord(
        id=hashlib.sha256(f"{factors} {replication}".encode()).hexdigest()[:16],
        factors=factors,
        seed=seed,
        fold=fold,
        model=name,
        config={"model": name, "structure": {"width": 0.25}, "epochs": epochs},
        data=DataFacts(
            name=factors["data"],
            protocol="official",
            protocol_options={},
            fold=f"{fold}",
            fingerprint="f00",
            labels=("angry", "happy"),
            train_images=round(2000 * factors["fraction"]),
            validation_images=300,
            test_images=TEST_IMAGES,
            copies=20,
        ),
        tta="none",
        selected_epoch=epochs,
        history=[
            {"epoch": epoch, "validation_accuracy": accuracy * (1 - 0.5**epoch), "loss": 1.0 / epoch}
            for epoch in range(1, epochs + 1)
        ],
        validation=scores(accuracy + 0.01, 300),
        test=scores(accuracy, TEST_IMAGES),
        test_new=scores(accuracy - 0.02, 480),
        cost=Cost(
            parameters=round(700_000 * slow),
            macs=round(2e7 * slow),
            train_seconds=100 * slow + generator.uniform(),
            images_per_second=900 / slow,
            latency_ms=3 * slow,
            peak_memory_mb=None,
        ),
        activations=[
            LayerActivation(layer=layer, kind=kind, mean=mean, variance=1.0, fraction_negative=0.5)
            for layer, kind, mean in layers
        ],
        warnings=[],
        environment={"torch": "2.9", "device": "cpu: x86_64", "threads": 1},
        predictions_sha256="0" * 64,
        finished="2026-01-01T00:00:00+00:00",
    )


def scores(accuracy, n):
    return Scores(
        n=n,
        accuracy=accuracy,
        low=accuracy - 0.04,
        high=accuracy + 0.04,
        balanced_accuracy=accuracy - 0.031,
        macro_f1=accuracy - 0.027,
        negative_log_likelihood=1.1,
        calibration_error=0.043,
    )
