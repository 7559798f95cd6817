"""Synthetic studies on the disk: run folders with known accuracies, so that results follow by hand."""

import hashlib
import json

import numpy as np

from fer_attention.emotions import FER2013
from fer_attention.study.config import StudyConfig
from fer_attention.study.grid import expand
from fer_attention.study.records import PREDICTIONS, RECORD, Predictions, RunRecord
from fer_attention.study.store import Store

TEST_IMAGES, TRAIN_IMAGES = 1000, 8000
BASE = 0.5
TWO_BY_TWO = {"backbone": "resnetv2_18", "attention": ["none", "se"], "activation": ["relu", "elu"]}
VGG = {"backbone": "vgg16", "attention": ["none", "se"]}
SIZES = {**VGG, "activation": "elu", "fraction": [0.25, 0.5, 1.0]}
TIMES = {"train_seconds": 100.0, "images_per_second": 900.0, "latency_ms": 3.0}


def luck(seed, fold):
    """Return the effect that all runs of a replication share, so that it cancels in pairs."""
    return (0.0, 0.021, -0.013, 0.034, -0.027)[(seed + 2 * fold) % 5]


def effect(factors, seed, fold):
    """SE gains 2 points, ELU 1; each condition has a little noise."""
    noise = 0.002 * ((3 * seed + fold + 2 * len(factors["attention"]) + len(factors["activation"])) % 5 - 2)
    return 0.02 * (factors["attention"] == "se") + 0.01 * (factors["activation"] == "elu") + noise


def make_study(
    folder,
    factors,
    *,
    effect=lambda factors, seed, fold: 0.0,
    seeds=4,
    folds=1,
    data=("fer2013",),
    without=lambda run: False,
    change=lambda record, run: None,
    names=lambda run: [f"face {number}" for number in range(TEST_IMAGES)],
    **fields,
):
    """Write a study and its finished runs into a folder.

    Args:
        folder: Folder of the study.
        factors: Factors in the study's file.
        effect: Accuracy of a run above `BASE` and the luck of its replication, by (factors, seed, fold);
            rounded to a number of `TEST_IMAGES` images.
        seeds: Number of seeds.
        folds: Number of folds of every data set.
        data: Names of the data sets.
        without: Predicate for planned runs that are missing.
        change: Function that changes the fields of a record before it is written.
        names: Names of a run's test images.
        fields: Further fields of the study's file.
    """
    plan = {"folds": list(range(folds))}
    if folds > 1:
        plan |= {"protocol": "stratified_kfold", "protocol_options": {"folds": folds}}
    study = StudyConfig.model_validate(
        {
            "title": "A synthetic study",
            "question": "What is in it?",
            "factors": factors,
            "data": {name: dict(plan) for name in data},
            "replications": {"seeds": seeds},
            **fields,
        }
    )
    runs = expand(study)
    store = Store(folder)
    store.begin(study, runs)
    for run in runs:
        if not without(run):
            accuracy = BASE + luck(run.seed, run.fold) + effect(run.factors, run.seed, run.fold)
            write_run(store, run, accuracy, names=names(run), change=change)
    return store


def write_run(store, run, accuracy, *, names, change=lambda record, run: None):
    """Write the record and predictions of one run; its id seeds the choice of correct images."""
    generator = np.random.default_rng(int(run.id, 16))
    labels = np.arange(TEST_IMAGES) % len(FER2013)
    wrong = generator.permutation(TEST_IMAGES)[round(accuracy * TEST_IMAGES) :]
    predicted = labels.copy()
    predicted[wrong] = (labels[wrong] + 1) % len(FER2013)
    content = Predictions(
        names=np.array(names),
        groups=None,
        labels=labels,
        predicted=predicted,
        probabilities=np.eye(len(FER2013), dtype=np.float32)[predicted],
        copies=np.zeros(TEST_IMAGES, bool),
    ).to_bytes()
    fields = record_fields(run, float((predicted == labels).mean()), hashlib.sha256(content).hexdigest())
    change(fields, run)
    folder = store.run_folder(run.id)
    folder.mkdir()
    (folder / PREDICTIONS).write_bytes(content)
    (folder / RECORD).write_text(RunRecord.model_validate(fields).model_dump_json())


def record_fields(run, accuracy, digest):
    """Return the fields of a record."""
    fraction = float(run.factors["fraction"])
    return {
        "id": run.id,
        "factors": dict(run.factors),
        "seed": run.seed,
        "fold": run.fold,
        "model": run.config.model,
        "config": run.config.model_dump(mode="json"),
        "data": {
            "name": run.factors["data"],
            "protocol": "official",
            "protocol_options": {},
            "fold": f"{run.fold}",
            "fingerprint": hashlib.sha256(str(run.factors["data"]).encode()).hexdigest(),
            "labels": list(FER2013),
            "train_images": round(TRAIN_IMAGES * fraction),
            "validation_images": 500,
            "test_images": TEST_IMAGES,
            "copies": 0,
        },
        "tta": run.study.tta,
        "selected_epoch": 1,
        "history": [{"epoch": 1.0, "validation_accuracy": accuracy, "loss": 1.0}],
        "validation": scores(accuracy + 0.01, 500),
        "test": scores(accuracy, TEST_IMAGES),
        "test_new": None,
        "cost": {"parameters": 700_000, "macs": 20_000_000, "peak_memory_mb": None, **TIMES},
        "activations": [],
        "warnings": [],
        "environment": {"torch": "2.9", "device": "cpu: x86_64", "threads": 1, "cpu_capability": "AVX2"},
        "predictions_sha256": digest,
        "finished": "2026-01-01T00:00:00+00:00",
    }


def scores(accuracy, n):
    """Return metrics that follow from the accuracy by simple rules."""
    return {
        "n": n,
        "accuracy": accuracy,
        "low": accuracy - 0.03,
        "high": accuracy + 0.03,
        "balanced_accuracy": accuracy - 0.02,
        "macro_f1": accuracy - 0.04,
        "negative_log_likelihood": 1.2,
        "calibration_error": 0.05,
    }


def records_of(store):
    """Read the records as plain JSON, without the package."""
    return [json.loads(path.read_text()) for path in sorted(store.folder.glob("runs/*/record.json"))]


def accuracies(store, **levels):
    """Read the test accuracies of one condition by (seed, fold), without the package."""
    found = {}
    for record in records_of(store):
        if all(record["factors"][name] == level for name, level in levels.items()):
            replication = record["seed"], record["fold"]
            assert replication not in found, f"{levels} are several conditions"
            found[replication] = record["test"]["accuracy"]
    return found


def only(items):
    (item,) = items
    return item
