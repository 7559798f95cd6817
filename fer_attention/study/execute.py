"""Execution of one run: train, evaluate once on the test images, measure costs, write the record last."""

from __future__ import annotations

import hashlib
import shutil
import statistics
import timeit
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from fer_attention.activations import activation_statistics
from fer_attention.atomic import write_atomically
from fer_attention.data import FaceDataset
from fer_attention.device import resolve_device
from fer_attention.evaluation import ClassificationMetrics, complexity, evaluate
from fer_attention.evaluation.evaluate import ALL, NEW
from fer_attention.inference import evaluation_mode
from fer_attention.models import FERModel, load_weights
from fer_attention.study.grid import RunSpec
from fer_attention.study.records import (
    PREDICTIONS,
    RECORD,
    TRAINING,
    WEIGHTS,
    Cost,
    DataFacts,
    LayerActivation,
    Predictions,
    RunRecord,
    Scores,
)
from fer_attention.study.source import source_commit
from fer_attention.training import TrainingCallbacks, train
from fer_attention.training.precision import resolve_precision
from fer_attention.training.setup import environment


def execute(
    spec: RunSpec, data: FaceDataset, folder: Path, *, device: torch.device | str = "auto"
) -> RunRecord:
    """Execute one run in its folder; an interrupted run resumes from its checkpoint.

    Raises:
        DataError: The data set does not support the protocol of the run.
        TrainingError: The run diverged, or a file cannot be written.
    """
    device, tta = resolve_device(device), spec.study.tta
    protocol = spec.protocol(data)
    crops = spec.crops(data, protocol)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    quiet = TrainingCallbacks(on_warning=lambda text: None)  # they are all in the result
    result = train(
        spec.config,
        crops,
        folder / TRAINING,
        select_on="validation",
        device=device,
        callbacks=quiet,
        curves=False,
    )
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    model = load_weights(result.weights, device=device)
    validation = evaluate(model, crops, split="validation", tta=tta)
    test = evaluate(model, crops, split="test", tta=tta, allow_seen=True)  # start weights may have seen some
    images = {part: crops.split(part) for part in ("train", "validation", "test")}
    content = Predictions(
        names=images["test"].names,
        groups=images["test"].subjects,
        labels=images["test"].labels,
        predicted=test.probabilities.argmax(1),
        probabilities=test.probabilities.astype(np.float32),
        copies=test.copies,
    ).to_bytes()
    counts = complexity(model)
    record = RunRecord(
        id=spec.id,
        factors=dict(spec.factors),
        seed=spec.seed,
        fold=spec.fold,
        model=model.spec.name,
        config=spec.config.model_dump(mode="json"),
        data=DataFacts(
            name=spec.data_name,
            protocol=protocol.name,
            protocol_options=protocol.options,
            fold=protocol.fold(spec.fold).name,
            fingerprint=data.fingerprint,
            labels=crops.label_names,
            **{f"{part}_images": len(crops) for part, crops in images.items()},
            copies=int(test.copies.sum()),
        ),
        tta=tta,
        selected_epoch=result.best.epoch,
        history=[asdict(epoch) for epoch in result.history],
        validation=_scores(validation.results[ALL]),
        test=_scores(test.results[ALL]),
        test_new=_scores(test.results[NEW]) if test.copies.any() and NEW in test.results else None,
        cost=Cost(
            parameters=counts.parameters,
            macs=counts.macs,
            train_seconds=sum(epoch.seconds for epoch in result.history),
            images_per_second=statistics.median(epoch.images_per_second for epoch in result.history),
            latency_ms=1000 * _latency(model, device),
            peak_memory_mb=peak,
        ),
        activations=_activations(model, images["validation"], spec.study.statistics_images),
        warnings=[*result.warnings, *test.warnings],
        environment=environment(device, 1, precision=resolve_precision(spec.config, device))
        | ({"commit": commit} if (commit := source_commit()) else {}),
        predictions_sha256=hashlib.sha256(content).hexdigest(),
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    write_atomically(folder / PREDICTIONS, content)
    if spec.study.keep_weights:
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
    """Return the median seconds for one image, after a warm-up."""
    image = torch.zeros(1, *model.spec.input_size, device=device)

    def once() -> None:
        model(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with evaluation_mode(model), torch.inference_mode():
        return statistics.median(timeit.repeat(once, number=1, repeat=35)[5:])


def _activations(model: FERModel, validation: FaceDataset, count: int) -> list[LayerActivation]:
    """Measure activation statistics on the first validation images in a fixed random order."""
    if not count:
        return []
    order = torch.randperm(len(validation), generator=torch.Generator().manual_seed(0))[:count]
    images = validation.take(order.numpy()).images
    assert model.preprocessing is not None  # noqa: S101  (set in every weights file; for the type checker)
    inputs = model.preprocessing.normalize(model.preprocessing.prepare(images))
    layers = activation_statistics(model, torch.split(inputs.to(next(model.parameters()).device), 64))
    return [LayerActivation.model_validate(layer, from_attributes=True) for layer in layers]
