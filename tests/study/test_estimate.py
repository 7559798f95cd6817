"""Estimates of work, time, memory, disk and workers."""

import numpy as np
import psutil
import pytest
import torch

from fer_attention.data import FaceDataset
from fer_attention.emotions import FER2013
from fer_attention.models.factory import from_spec
from fer_attention.study import estimate
from fer_attention.study.datasets import DataSets, synthetic_faces
from fer_attention.study.estimate import images_of, memory_of, work_of, workers_for
from tests.support.tiny_studies import runs_of, tiny_study


def test_work_counts_the_layers_images_and_epochs_of_a_run():
    (run,) = runs_of(tiny_study(factors__attention="none", replications__seeds=1, changes__epochs=3))
    data = DataSets(tiny_study())["bars"]
    model, macs = from_spec(run.config.spec()), 0

    def count(layer, inputs, output):
        nonlocal macs
        weights = layer.weight[0].numel()
        macs += weights * output.numel() // output.shape[0]

    for layer in model.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(count)
    model.eval()(torch.zeros(1, 1, 16, 16))
    assert images_of(run, data) == (42, 14)
    assert work_of(run, data) == pytest.approx(3 * (3 * 42 + 14) * macs, rel=0.02)


@pytest.mark.parametrize(
    "fields",
    [
        {"changes__epochs": 2},
        {"data__bars__options": {"images": 140, "size": 16}},
        {"factors__backbone": "resnetv2_34"},
        {"changes__structure__width": 0.25},
        {"changes__structure__img_size": 32},
        {"factors__attention": ["ecbam", "eca"]},
    ],
    ids=str,
)
def test_work_grows_with_epochs_images_and_model(fields):
    def work(study):
        data = DataSets(study)["bars"]
        return sum(work_of(run, data) for run in runs_of(study))

    assert work(tiny_study(**fields)) > work(tiny_study())


def test_an_estimate_divides_the_work_by_rate_and_workers(monkeypatch):
    monkeypatch.setattr(estimate, "_macs_per_second", lambda run, device: (1e6, 8))
    monkeypatch.setattr(estimate, "_fixed_seconds", lambda run: (0.0, 0.0))
    monkeypatch.setattr(estimate, "_start_seconds", lambda: 0.0)
    study = tiny_study(keep_weights=True)
    data, runs = DataSets(study).all(), runs_of(study)
    one = estimate.estimate(runs, data, workers=1, device="cpu")
    two = estimate.estimate(runs, data, workers=2, device="cpu")
    assert one.seconds == pytest.approx(sum(work_of(run, data["bars"]) for run in runs) / 1e6)
    assert two.seconds == pytest.approx(one.seconds / 2)
    assert (one.workers, two.workers) == (1, 2)
    parameters = [estimate.counts_of(run).parameters for run in runs]
    assert one.disk > 4 * sum(parameters)  # the stored weights
    assert two.disk - one.disk == pytest.approx(20 * max(parameters))  # another run's checkpoint
    dropped = runs_of(tiny_study())
    assert estimate.estimate(dropped, data, workers=1, device="cpu").disk < one.disk


def test_an_estimate_counts_start_up_data_and_files(monkeypatch):
    monkeypatch.setattr(estimate, "_macs_per_second", lambda run, device: (1e6, 8))
    monkeypatch.setattr(estimate, "_fixed_seconds", lambda run: (3.0, 2.0))
    monkeypatch.setattr(estimate, "_start_seconds", lambda: 20.0)
    study = tiny_study(changes__epochs=2)
    data, runs = DataSets(study).all(), runs_of(study)
    found = estimate.estimate(runs, data, workers=2, device="cpu", reading=5.0)
    assert found.overhead == 20 + 5 + 4 * (3 + 2 * 2) / 2
    assert found.seconds == pytest.approx(
        sum(work_of(run, data["bars"]) for run in runs) / 2e6 + found.overhead
    )


@pytest.mark.slow
def test_the_overhead_is_measured():
    (run, *_) = runs_of(tiny_study())
    once, each_epoch = estimate._fixed_seconds(run)
    assert 0 < once < 60
    assert 0 < each_epoch < 60
    assert estimate._start_seconds() > 0.2  # no interpreter imports torch faster


@pytest.mark.parametrize("workers", [0, -2])
def test_an_estimate_needs_a_run_and_a_worker(workers):
    study = tiny_study()
    with pytest.raises(ValueError, match=f"at least one run and one worker, got 4 and {workers}"):
        estimate.estimate(runs_of(study), DataSets(study).all(), workers=workers, device="cpu")
    with pytest.raises(ValueError, match="at least one run"):
        estimate.estimate([], DataSets(study).all(), device="cpu")


def test_measuring_the_rate_restores_threads_and_random_state():
    study = tiny_study(changes__batch_size=2)
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    found = estimate.estimate(runs_of(study), DataSets(study).all(), workers=1, device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert min(found.seconds, found.disk) > 0
    assert "resnetv2_18" in found.measured


@pytest.mark.parametrize(
    ("cores", "gigabytes", "expected"), [(8, 1000, 4), (2, 1000, 2), (8, 5, 3), (8, 0.1, 1), (1, 1000, 1)]
)
def test_workers_are_limited_by_cores_memory_and_runs(monkeypatch, cores, gigabytes, expected):
    study = tiny_study()
    monkeypatch.setattr(estimate, "cores", lambda: cores)
    monkeypatch.setattr(estimate, "free_memory", lambda: gigabytes * 1e9)
    assert workers_for(runs_of(study), DataSets(study).all(), torch.device("cpu")) == expected


def test_free_memory_respects_the_limit_of_a_container(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(estimate, "CONTAINER_LIMIT", limit)
    free = pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert estimate.free_memory() == free  # outside a container there is no such file
    limit.write_text("max\n")
    assert estimate.free_memory() == free
    limit.write_text("1000000\n")
    assert estimate.free_memory() == 1_000_000


def test_memory_grows_with_model_and_images():
    (small,) = runs_of(tiny_study(factors__attention="none", replications__seeds=1))
    (wide,) = runs_of(
        tiny_study(factors__attention="none", replications__seeds=1, changes__structure__width=1.0)
    )
    data = synthetic_faces(images=70)
    many = FaceDataset(
        images=np.zeros((20_000, 100, 100), np.uint8),
        labels=np.zeros(20_000, np.int64),
        names=np.array([str(number) for number in range(20_000)]),
        splits=np.array(["train", "validation", "test", "test"] * 5000),
        label_names=FER2013,
    )
    assert memory_of(small, many) - memory_of(small, data) == pytest.approx(2 * 2e8, rel=0.01)
    assert memory_of(wide, data) - memory_of(small, data) > 20 * 5e6


def test_each_gpu_gets_one_worker(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    study = tiny_study()
    runs, data = runs_of(study), DataSets(study).all()
    assert workers_for(runs, data, torch.device("cuda")) == 3
    assert workers_for(runs, data, torch.device("cuda:1")) == 1
