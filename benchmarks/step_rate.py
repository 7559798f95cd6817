"""Measure the cost of input: training steps with the data set on the device, and with a DataLoader.

    python benchmarks/step_rate.py --models resnet18 --batch-size 128                     # any machine
    python benchmarks/step_rate.py --models resnet18 resnet50 --batch-size 512 --device cuda --record FILE

Times the input alone (index, augment, standardise), the step on prepared input, and both loops end to end.
Rounds are interleaved and medians reported, so that the load of a shared machine affects all alike. Pixels
are random, since their values do not affect times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cost_record import StepRates, as_text, write_record
from cost_setup import environment_of
from machine_load import add_option, check_before, refuse_if_busy, watched_load
from torch.utils.data import DataLoader, TensorDataset

from fer_attention import create_model
from fer_attention.data import FaceDataset
from fer_attention.device import resolve_device
from fer_attention.emotions import FER2013
from fer_attention.preprocessing import Preprocessing
from fer_attention.training import load_recipe
from fer_attention.training.augment import augmentation
from fer_attention.training.batches import Batches


def main() -> None:
    """Measure, print and optionally write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18"])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2, help="worker processes of the DataLoader")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--record", type=Path)
    add_option(parser)
    options = parser.parse_args()
    device = resolve_device(options.device)
    check_before(allow=options.allow_busy, record=options.record)
    with watched_load() as load:
        results = {name: measure(name, options, device) for name in options.models}
    record = StepRates(
        batch_size=options.batch_size,
        rounds=options.rounds,
        environment=environment_of(device, load),
        results=results,
    )
    print(as_text(record))
    refuse_if_busy(load, allow=options.allow_busy, record=options.record)
    if options.record:
        write_record(options.record, record)


def measure(name: str, options: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Measure one model: median seconds per step, images per second, share of the input."""
    size = options.batch_size
    config = load_recipe("compact", {"model": name, "batch_size": size})
    data = random_faces(size * 8)
    preprocessing = Preprocessing((48, 48), 1)
    batches = Batches(data, config, preprocessing=preprocessing, device=device)
    augment = augmentation(config.augment)
    model = create_model(name).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    labels = torch.from_numpy(data.labels).to(device)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(data.images)[:, None], torch.from_numpy(data.labels)),
        batch_size=size,
        shuffle=True,
        num_workers=options.workers,
        pin_memory=device.type == "cuda",
        persistent_workers=options.workers > 0,
    )

    def prepared(images: torch.Tensor) -> torch.Tensor:
        inputs = preprocessing.standardize(augment(images.float() / 255))
        return inputs.contiguous(memory_format=torch.channels_last)

    def learn(inputs: torch.Tensor, targets: torch.Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(inputs)
        loss = torch.nn.functional.cross_entropy(logits.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    ready = prepared(torch.randint(0, 256, (size, 1, 48, 48), dtype=torch.uint8, device=device))

    def on_device() -> None:
        for ((images, rows),) in batches.epoch(1):
            learn(prepared(images), labels[rows])

    def with_loader() -> None:
        for images, targets in loader:
            learn(prepared(images.to(device, non_blocking=True)), targets.to(device, non_blocking=True))

    def input_alone() -> None:
        for ((images, _),) in batches.epoch(1):
            prepared(images)

    def step_alone() -> None:
        for _ in range(batches.steps):
            learn(ready, labels[:size])

    loops = {"input": input_alone, "step": step_alone, "on_device": on_device, "loader": with_loader}
    times: dict[str, list[float]] = {loop: [] for loop in loops}
    for turn in range(options.rounds + 1):
        for loop, function in loops.items():
            seconds = timed(function, device)
            if turn:  # the first round warms up
                times[loop].append(seconds)
    medians = {loop: statistics.median(values) / batches.steps for loop, values in times.items()}
    return {
        **{f"{loop}_seconds_per_step": round(value, 6) for loop, value in medians.items()},
        "input_share_of_step": round(medians["input"] / medians["step"], 4),
        "on_device_images_per_second": round(size / medians["on_device"], 1),
        "loader_images_per_second": round(size / medians["loader"], 1),
    }


def timed(function: Callable[[], None], device: torch.device) -> float:
    """Time a call in seconds, including its work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def random_faces(count: int) -> FaceDataset:
    """Return a data set of noise with random labels."""
    generator = np.random.default_rng(0)
    return FaceDataset(
        images=generator.integers(0, 256, (count, 48, 48)).astype(np.uint8),
        labels=generator.integers(0, 7, count),
        names=np.arange(count).astype(str),
        splits=np.array(["train"] * count),
        label_names=FER2013,
    )


if __name__ == "__main__":
    main()
