"""Batches: their order, sampling, sharing between processes, and pixel statistics."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.preprocessing import Preprocessing
from fer_attention.training.batches import Batches, epoch_order, measure_normalization
from tests.support.tiny_runs import stripes, tiny

CPU = torch.device("cpu")


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 5), st.integers(0, 3))
def test_processes_share_each_step_without_overlap(processes, accumulate, epoch, start):
    data = stripes(80)
    config = tiny(batch_size=4, accumulate=accumulate)
    preprocessing = Preprocessing((16, 16), 1, mean=(0.0,), std=(1.0,))
    order = epoch_order(data.labels, config, epoch)
    assert sorted(order.tolist()) == list(range(80))
    seen = []
    for rank in range(processes):
        batches = Batches(
            data, config, preprocessing=preprocessing, device=CPU, rank=rank, processes=processes
        )
        steps = list(batches.epoch(epoch, start=min(start, batches.steps)))
        assert len(steps) == max(0, batches.steps - start)
        for passes in steps:
            assert len(passes) == accumulate
            for images, rows in passes:
                assert torch.equal(images[:, 0], torch.from_numpy(data.images)[rows])
                seen += rows.tolist()
    first = min(start, batches.steps) * batches.step_size
    assert sorted(seen) == sorted(order[first : batches.steps * batches.step_size].tolist())


def test_balanced_sampling_draws_classes_equally():
    labels = np.repeat([0, 1, 3], [900, 90, 10])
    order = epoch_order(labels, tiny(sampling="balanced"), 1)
    counts = np.bincount(labels[order.numpy()], minlength=4)
    assert counts[2] == 0
    assert np.abs(counts[[0, 1, 3]] - 1000 / 3).max() < 5 * math.sqrt(1000 * 2 / 9)


def test_measured_mean_and_std_are_those_of_the_pixels():
    data = stripes(2500)
    found = measure_normalization(Preprocessing((16, 16), 1, mean=(0.0,), std=(1.0,)), data)
    pixels = data.images / 255
    assert found.mean == pytest.approx((pixels.mean(),), abs=1e-4)
    assert found.std == pytest.approx((pixels.std(),), abs=1e-4)
