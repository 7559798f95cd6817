"""Recognisers of other packages, in processes of their own, and the page about them."""

import sys

import numpy as np
import pytest
from peers import measure

from fer_attention.classifiers import Classifier
from fer_attention.data import FaceDataset

WORKER = """
import json, sys
import numpy as np
facts = {"labels": ["dark", "bright"], "versions": {"own": "1"}}
sys.stdout.buffer.write(json.dumps(facts).encode() + b"\\n")
sys.stdout.flush()
while line := sys.stdin.buffer.readline():
    shape = json.loads(line)
    crops = np.frombuffer(sys.stdin.buffer.read(int(np.prod(shape))), np.uint8).reshape(shape)
    bright = crops.mean((1, 2)) / 255
    sys.stdout.buffer.write(np.stack([1 - bright, bright], 1).astype("<f4").tobytes())
    sys.stdout.flush()
    if crops.max() == 13:
        sys.exit(3)
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "own_worker.py").write_text(WORKER)
    monkeypatch.setattr(measure, "HERE", tmp_path)
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')  # a link would leave its packages
    python.chmod(0o755)
    started = measure.Peer("own", tmp_path / "environment")
    yield started
    started.close()


def test_a_peer_is_a_classifier_that_answers_in_another_process(peer):
    assert isinstance(peer, Classifier)
    assert (peer.labels, peer.versions) == (("dark", "bright"), {"own": "1"})
    crops = np.random.default_rng(0).integers(0, 256, (7, 1, 48, 48), dtype=np.uint8)
    expected = crops.mean((1, 2, 3)) / 255
    for batch_size in (3, 64):
        np.testing.assert_allclose(
            peer.probabilities(crops, batch_size=batch_size)[:, 1], expected, atol=1e-6
        )
    assert peer.probabilities(crops[:0]).shape == (0, 2)


def test_a_worker_that_ends_is_an_error_with_its_code(peer):
    last = np.full((1, 1, 48, 48), 13, dtype=np.uint8)
    peer.probabilities(last)
    with pytest.raises((RuntimeError, BrokenPipeError)):
        peer.probabilities(last)


def test_a_peer_without_a_worker_or_environment_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "HERE", tmp_path)
    with pytest.raises(SystemExit, match="there is no .*none_worker.py or none_worker.cjs"):
        measure.Peer("none", tmp_path)
    with pytest.raises(SystemExit, match="none is not a bundled model; a peer is given as NAME=ENVIRONMENT"):
        measure.started("none").__enter__()


def test_speed_is_the_processor_time_of_the_worker(peer, tmp_path, monkeypatch):
    (tmp_path / "environment" / "weights").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(measure, "ROUNDS", 2)
    count, rng = 5, np.random.default_rng(0)
    faces = FaceDataset(
        rng.integers(0, 256, (count, 48, 48), dtype=np.uint8),
        np.zeros(count, dtype=np.int64),
        np.arange(count).astype(str),
        np.repeat("public", count),
        ("dark",),
    )
    found = measure.speed([f"own={tmp_path / 'environment'}"], faces)
    own = found["recognisers"]["own"]
    assert (found["rounds"], found["faces"], own["install_mb"], len(own["ms"])) == (2, count, 3, 2)
    assert str(tmp_path) not in found["command"]
    before = peer.cpu_seconds()
    assert before > 0
    while peer.cpu_seconds() == before:
        peer.probabilities(np.zeros((64, 1, 48, 48), dtype=np.uint8))


def test_the_page_and_its_figure_follow_from_the_records():
    for path, text in measure.render().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run benchmarks/peers/measure.py render"
