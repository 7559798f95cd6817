"""Copies of models for inference, made while other threads work."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from fer_attention import create_model
from fer_attention.classifiers.prepared import PreparedModel

PLAIN_CALL = torch.nn.Module.__call__


def test_preparation_leaves_networks_in_other_threads_alone():
    """As detectors run in the threads of a folder while the first of them prepares its model."""
    model = create_model("resnet18_se", width=0.25).eval()
    other, x = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()), torch.ones(1, 4)
    expected, stop = other(x), threading.Event()

    def run():
        while not stop.is_set():
            assert torch.equal(other(x), expected)
        return True

    with ThreadPoolExecutor(4) as pool:
        try:
            running = [pool.submit(run) for _ in range(2)]
            example = torch.zeros(1, 1, 48, 48)
            graphs = list(pool.map(lambda _: PreparedModel(model, example).graph, range(4)))
        finally:
            stop.set()
        assert [one.result() for one in running] == [True, True]
    assert None not in graphs
    assert torch.nn.Module.__call__ is PLAIN_CALL
