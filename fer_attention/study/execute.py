"""One run: train, open the test images once, measure, and leave a record as the last thing."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from fer_attention.activations import activation_statistics
from fer_attention.atomic import write_atomically
from fer_attention.data import FaceCrops
from fer_attention.device import resolve_device
from fer_attention.evaluation import (
    ClassificationMetrics,
    classification_metrics,
    complexity,
    predict_crops,
)
from fer_attention.models import FERModel, load_weights
from fer_attention.modes import evaluation_mode
from fer_attention.study.grid import RunSpec
from fer_attention.study.records import (
    PREDICTIONS,
    RECORD,
    WEIGHTS,
    Cost,
    DataFacts,
    LayerActivation,
    Predictions,
    RunRecord,
    Scores,
    sha256,
)
from fer_attention.study.source import source_commit
from fer_attention.training import Epoch, Listener, train
from fer_attention.training.checkpoint import fingerprint
from fer_attention.training.setup import environment, resolve_precision

TRAINING = "training"
"""Folder of a run's checkpoint while it goes on; removed once the record is written."""

LATENCY_ROUNDS = 30


def execute(
    spec: RunSpec,
    data: FaceCrops,
    folder: Path,
    *,
    device: torch.device | str = "auto",
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> RunRecord:
    """Carry out one run in its folder; an interrupted one goes on at its checkpoint.

    Raises:
        DataError: The data set cannot be divided as the run asks.
        TrainingError: The run diverged, or a file cannot be written.
    """
    device = resolve_device(device)
    protocol = spec.protocol(data)
    crops = spec.crops(data, protocol)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    listener = Listener(on_epoch=on_epoch, on_warning=lambda sign: None)  # the result holds them all
    config = spec.config
    result = train(config, crops, folder / TRAINING, select_on="validation", device=device, listener=listener)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    model = load_weights(result.weights, device=device)
    validation, test = crops.split("validation"), crops.split("test")
    copies = test.seen_in(crops.split("train"))
    probabilities = predict_crops(model, test, tta=spec.tta)
    content = Predictions(
        names=test.names,
        groups=test.subjects,
        labels=test.labels,
        predicted=probabilities.argmax(1),
        probabilities=probabilities.astype(np.float32),
        copies=copies,
    ).to_bytes()
    new = ~copies
    counts = complexity(model)
    record = RunRecord(
        id=spec.id,
        factors=dict(spec.factors),
        seed=spec.seed,
        fold=spec.fold,
        model=model.spec.name,
        config=config.model_dump(mode="json"),
        data=DataFacts(
            name=str(spec.factors["data"]),
            protocol=protocol.name,
            protocol_options=protocol.options,
            fold=protocol.folds[spec.fold].name,
            fingerprint=fingerprint(data),
            labels=crops.label_names,
            train_images=len(crops.split("train")),
            validation_images=len(validation),
            test_images=len(test),
            copies=int(copies.sum()),
        ),
        tta=spec.tta,
        selected_epoch=result.best.epoch,
        history=[asdict(epoch) for epoch in result.history],
        validation=_scores(
            classification_metrics(
                predict_crops(model, validation, tta=spec.tta), validation.labels, crops.label_names
            )
        ),
        test=_scores(classification_metrics(probabilities, test.labels, crops.label_names)),
        test_new=_scores(classification_metrics(probabilities[new], test.labels[new], crops.label_names))
        if copies.any() and new.any()
        else None,
        cost=Cost(
            parameters=counts.parameters,
            macs=counts.macs,
            train_seconds=sum(epoch.seconds for epoch in result.history),
            images_per_second=statistics.median(epoch.images_per_second for epoch in result.history),
            latency_ms=_latency(model, device) * 1000,
            peak_memory_mb=peak,
        ),
        activations=_activations(model, validation, spec.statistics_images, device),
        signs=list(result.signs),
        environment=environment(device, 1, precision=resolve_precision(config, device))
        | ({"commit": commit} if (commit := source_commit()) else {}),
        predictions_sha256=sha256(content),
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    write_atomically(folder / PREDICTIONS, content)
    if spec.keep_weights:
        write_atomically(folder / WEIGHTS, result.weights.read_bytes())
    write_atomically(folder / RECORD, record.model_dump_json(indent=1).encode())
    shutil.rmtree(folder / TRAINING)
    return record


def _scores(metrics: ClassificationMetrics) -> Scores:
    return Scores(
        n=metrics.n,
        accuracy=metrics.accuracy.value,
        low=metrics.accuracy.low,
        high=metrics.accuracy.high,
        balanced_accuracy=metrics.accuracy.balanced,
        macro_f1=metrics.macro_f1,
        negative_log_likelihood=metrics.negative_log_likelihood,
        calibration_error=metrics.reliability.ece,
    )


def _latency(model: FERModel, device: torch.device) -> float:
    """Median seconds for one image, first passes left out."""
    image = torch.zeros(1, *model.spec.input_size, device=device)
    times = []
    with evaluation_mode(model), torch.inference_mode():
        for _ in range(LATENCY_ROUNDS + 5):
            start = time.perf_counter()
            model(image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
    return statistics.median(times[5:])


def _activations(
    model: FERModel, validation: FaceCrops, count: int, device: torch.device
) -> list[LayerActivation]:
    """What the activations give out on the first validation images in a fixed random order."""
    if not count:
        return []
    order = torch.randperm(len(validation), generator=torch.Generator().manual_seed(0))[:count]
    images = validation.take(order.numpy()).images
    assert model.preprocessing is not None  # noqa: S101  (weights files have it; for the type checker)
    inputs = model.preprocessing.normalize(model.preprocessing.prepare(images)).to(device)
    measured = activation_statistics(model, torch.split(inputs, 64))
    return [
        LayerActivation(
            layer=one.layer,
            kind=one.kind,
            mean=one.mean,
            variance=one.variance,
            fraction_negative=one.fraction_negative,
        )
        for one in measured
    ]
