"""Several processes train like one on their joint batch."""

import json
from contextlib import ExitStack

import pytest
import torch
import yaml
from torch.distributed import TCPStore

from fer_attention.training import train
from tests.support.datasets import write_fer2013_csv
from tests.support.forked import python, run_python
from tests.support.tiny_runs import checkpoint_of, stripes, tiny

pytestmark = pytest.mark.usefixtures("without_curves")

# VGG has no batch norm, whose statistics would differ between processes on the CPU
FIELDS = {
    "model": "vgg11_eca_elu",
    "structure": {"width": 0.125, "img_size": 16},
    "epochs": 2,
    "lr": 0.02,
    "augment": {"flip": 0},
    "clip_norm": 1.0,
}

SCRIPT = """
import sys
from pathlib import Path
from tests.support.tiny_runs import stripes, tiny
from tests.training.test_distributed import FIELDS
from fer_attention.training import train
train(tiny(**FIELDS, batch_size=8), stripes(), Path(sys.argv[1]), device="cpu")
"""


def run_two(*arguments):
    """Run Python in two processes that find each other as those of torchrun do."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2"}
    common |= {
        "LOCAL_WORLD_SIZE": "2",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    with ExitStack() as stack:
        processes = [
            stack.enter_context(python(*arguments, **common, RANK=rank, LOCAL_RANK=rank)) for rank in "01"
        ]
        ended = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended


@pytest.mark.slow
def test_two_processes_train_like_one_with_twice_the_batch(tmp_path):
    one = train(tiny(**FIELDS, batch_size=16), stripes(), tmp_path / "one", device="cpu")
    run_two("-c", SCRIPT, tmp_path / "two")
    start = train(tiny(**{**FIELDS, "lr": 1e-12}, batch_size=16), stripes(), tmp_path / "start", device="cpu")
    whole, parts = checkpoint_of(tmp_path / "one"), checkpoint_of(tmp_path / "two")
    initial = checkpoint_of(start.weights.parent)
    for name, weight in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], weight, rtol=1e-4, atol=1e-6)
    moved = [not torch.allclose(initial["model"][n], w, atol=1e-4) for n, w in whole["model"].items()]
    assert any(moved)  # otherwise the comparison could not fail
    for a, b in zip(one.history, parts["history"], strict=True):
        assert b["loss"] == pytest.approx(a.loss, rel=1e-4)
        assert b["validation_accuracy"] == a.validation_accuracy


@pytest.mark.slow
def test_two_processes_run_and_stop_a_campaign_together(tmp_path):
    faces = write_fer2013_csv(tmp_path / "fer2013.csv", usages=("Training",) * 64 + ("PublicTest",) * 14)
    changes = {"epochs": 30, "batch_size": 8, "structure": FIELDS["structure"], "model": FIELDS["model"]}
    run = {"recipe": "quick", "data": "faces", "changes": {**changes, "precision": "float32"}}
    second = {**run, "changes": {**changes, "epochs": 1, "precision": "auto", "teachers": ["{first}"]}}
    content = {
        "data": {"faces": {"path": str(faces)}},
        "runs": [{"name": "first", **run}, {"name": "second", **second}],
    }
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump(content))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = [*launcher, "fer_attention.cli", "campaign", file, "--output", tmp_path / "runs"]
    texts = []
    for minutes in ("0.002", "60"):
        code, output, errors = run_python(*command, "--device", "cpu", "--minutes", minutes)
        assert code == 0, errors
        texts.append(output)
    assert texts[0].endswith("0 of 2 runs are done. The same command resumes with first.\n")
    assert "first resumes" in texts[1]
    assert "2 of 2 runs are done" in texts[1]
    results = [
        json.loads((tmp_path / "runs" / name / "result.json").read_text()) for name in ("first", "second")
    ]
    assert [result["environment"]["processes"] for result in results] == [2, 2]


def test_accumulated_passes_train_like_one_large_batch(tmp_path):
    one = train(tiny(**FIELDS, batch_size=16), stripes(), tmp_path / "one")
    four = train(tiny(**FIELDS, batch_size=4, accumulate=4), stripes(), tmp_path / "four")
    a, b = (checkpoint_of(result.weights.parent)["model"] for result in (one, four))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)
    assert [epoch.train_accuracy for epoch in one.history] == [e.train_accuracy for e in four.history]
