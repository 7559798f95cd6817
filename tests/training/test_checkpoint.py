"""Interrupted runs resume to identical weights: exceptions, signals, SIGKILL, a full disk."""

import resource
import shutil
import signal

import pytest
import torch

from fer_attention.training import TrainingCallbacks, TrainingError, TrainingStopped, train
from tests.support.forked import python, run_python
from tests.support.tiny_runs import (
    StoppedError,
    assert_same_run,
    checkpoint_of,
    stop_at,
    stripes,
    tiny,
    untrained,
)

pytestmark = pytest.mark.usefixtures("without_curves")

AUGMENT = {"flip": 0.5, "rotate": 10, "erase": 0.5, "mixup": 0.2}


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "plateau"])
@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 3), (3, 4)])
def test_a_run_stopped_at_a_step_resumes_to_identical_weights(tmp_path, epoch, step, schedule):
    config = tiny(augment=AUGMENT, checkpoint_minutes=0, schedule=schedule, patience=1)
    train(config, stripes(), tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(config, stripes(), tmp_path / "parts", callbacks=stop_at(epoch, step))
    train(config, stripes(), tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_resumes_at_the_step_and_not_only_the_epoch(tmp_path):
    config = tiny(checkpoint_minutes=0)
    with pytest.raises(StoppedError):
        train(config, stripes(), tmp_path, callbacks=stop_at(2, 3))
    seen = []
    train(config, stripes(), tmp_path, callbacks=TrainingCallbacks(on_progress=seen.append))
    assert (seen[0].epoch, seen[0].step) == (2, 4)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = train(tiny(), stripes(), tmp_path)
    seen = []
    again = train(tiny(), stripes(), tmp_path, callbacks=TrainingCallbacks(on_progress=seen.append))
    assert again == first
    assert seen == []


@pytest.mark.parametrize(
    ("fields", "data", "message"),
    [
        ({"lr": 0.01}, stripes(), "another config: lr was 0.05, is 0.01"),
        ({}, stripes(seed=1), "a run on other data"),
    ],
)
def test_another_run_does_not_resume_in_a_used_folder(tmp_path, fields, data, message):
    with pytest.raises(StoppedError):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path, callbacks=stop_at(1, 2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TrainingError, match=message):
        train(tiny(**fields), data, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("role", ["start weights", "teacher"])
def test_replaced_weights_are_named_and_moved_ones_accepted(tmp_path, role):
    first, second = (untrained(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (0, 1))

    def config(path):
        named = {"teachers": (first, path)}
        if role == "start weights":
            named = {"weights": path, "structure": {}}
        return tiny(checkpoint_minutes=0, **named)

    folder, path = tmp_path / "run", str(tmp_path / "used.safetensors")
    shutil.copy(second, path)
    with pytest.raises(StoppedError):
        train(config(path), stripes(), folder, callbacks=stop_at(1, 2))
    before = (folder / "checkpoint.pt").read_bytes()
    shutil.copy(first, path)
    with pytest.raises(TrainingError) as caught:
        train(config(path), stripes(), folder)
    assert str(caught.value) == (
        f"{folder} contains a run whose {role} was {path} with other content; the file has changed since. "
        "Choose another folder, or remove this one to start again."
    )
    field = "weights" if role == "start weights" else "teachers"
    with pytest.raises(TrainingError, match=f"another config: {field} was .*used.* is .*0.safetensors"):
        train(config(first), stripes(), folder)
    assert (folder / "checkpoint.pt").read_bytes() == before
    moved = tmp_path / "elsewhere" / "moved.safetensors"
    moved.parent.mkdir()
    shutil.copy(second, moved)
    train(config(str(moved)), stripes(), folder)
    train(config(second), stripes(), tmp_path / "whole")
    assert_same_run(tmp_path / "whole", folder)


@pytest.mark.parametrize("asked", [1, 2, 4, 5, 9])
def test_a_run_stopped_by_its_caller_resumes_to_identical_weights(tmp_path, asked):
    config = tiny(augment=AUGMENT)
    train(config, stripes(), tmp_path / "whole")
    answers = iter([False] * (asked - 1) + [True])
    progress = []
    with pytest.raises(TrainingStopped, match="saved in"):
        train(
            config,
            stripes(),
            tmp_path / "parts",
            callbacks=TrainingCallbacks(on_progress=progress.append),
            stop=lambda: next(answers),
        )
    state = checkpoint_of(tmp_path / "parts")
    assert len(state["history"]) * 4 + state["position"][0] == asked
    assert not (tmp_path / "parts" / "result.json").exists()
    train(config, stripes(), tmp_path / "parts", stop=lambda: False)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_epochs_of_one_step_can_be_stopped_in_between(tmp_path):
    config = tiny(batch_size=64)
    for done in (1, 2):
        with pytest.raises(TrainingStopped):
            train(config, stripes(), tmp_path, stop=lambda: True)
        assert len(checkpoint_of(tmp_path)["history"]) == done
    assert len(train(config, stripes(), tmp_path, stop=lambda: True).history) == 3


def test_a_damaged_checkpoint_is_rejected(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="checkpoint.pt is not a checkpoint .* Remove it") as caught:
        train(tiny(), stripes(), tmp_path)
    assert "weights_only" not in str(caught.value)  # torch suggests disabling that


def test_fields_without_effect_on_the_result_can_change(tmp_path):
    with pytest.raises(StoppedError):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path, callbacks=stop_at(1, 2))
    train(tiny(checkpoint_minutes=3, workers=0), stripes(), tmp_path)


def test_half_written_files_are_removed(tmp_path):
    leftover = tmp_path / ".checkpoint.pt.abcd1234"
    leftover.write_bytes(b"half")
    train(tiny(epochs=1), stripes(), tmp_path)
    assert not leftover.exists()


def test_a_diverging_run_keeps_its_last_checkpoint(tmp_path, monkeypatch):
    from fer_attention.training import run  # noqa: PLC0415

    with pytest.raises(StoppedError):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path, callbacks=stop_at(2, 2))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(run, "create_loss", lambda *_, **__: lambda logits, targets: logits.sum() * torch.nan)
    with pytest.raises(TrainingError, match="in epoch 2, step 3 of 4"):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_full_disk_leaves_the_checkpoint_intact(tmp_path):
    """A limit on file sizes simulates the full disk."""
    with pytest.raises(StoppedError):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path, callbacks=stop_at(1, 2))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(TrainingError, match=r"Cannot write .*checkpoint.pt.* Earlier files are intact"):
            train(tiny(checkpoint_minutes=0), stripes(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".checkpoint")] == []
    train(tiny(checkpoint_minutes=0), stripes(), tmp_path)


def test_a_folder_that_cannot_be_created_fails_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="Cannot create the folder"):
        train(tiny(), stripes(), tmp_path / "file" / "run")


SCRIPT = """
import os, random, signal, sys
folder, minutes, mode = sys.argv[1:]
from pathlib import Path
from tests.support.tiny_runs import kill_after, stripes, tiny
from tests.training.test_checkpoint import AUGMENT
from fer_attention.training import TrainingCallbacks, train

generator = random.Random(mode)
last, steps, delay = generator.randint(3, 9), 0, generator.uniform(0, 0.06)

def on_progress(progress):
    global steps
    steps += 1
    if mode.startswith("kill") and steps == last:
        kill_after(delay)
    if mode == "wait" and steps == 6:
        print("waiting", flush=True)
        sys.stdin.readline()

config = tiny(epochs=12, augment=AUGMENT, checkpoint_minutes=float(minutes))
callbacks = TrainingCallbacks(on_progress=on_progress)
train(config, stripes(), Path(folder), callbacks=callbacks, curves=False)
if mode.startswith("kill"):  # a fast machine was done before the end of the delay
    os.kill(os.getpid(), signal.SIGKILL)
"""


def trained(folder, minutes, mode):
    """Train in a process of its own, which may kill itself; return its exit code."""
    return run_python("-c", SCRIPT, folder, minutes, mode)[0]


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [0, 60], ids=["saving at every step", "saving at every epoch"])
def test_a_killed_run_resumes_to_identical_weights(tmp_path, minutes):
    assert trained(tmp_path / "whole", minutes, "train") == 0
    for part in range(4):  # each part is killed shortly after one of its steps, often while it saves
        assert trained(tmp_path / "parts", minutes, f"kill {part}") == -signal.SIGKILL
    assert trained(tmp_path / "parts", minutes, "train") == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.fixture
def waiting(tmp_path):
    """A process that trains into the folder, and waits after the second step of the second epoch."""
    with python("-c", SCRIPT, tmp_path, 60, "wait") as process:
        assert process.stdout.readline() == "waiting\n"
        yield process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_saves_before_the_process_ends(tmp_path, waiting, number, code):
    waiting.send_signal(number)
    waiting.communicate("go on\n")
    assert waiting.returncode in (code, -number)
    state = checkpoint_of(tmp_path)
    assert (len(state["history"]), state["position"][0]) == (1, 3)
    assert torch.isfinite(state["model"]["stem.conv.weight"]).all()


def test_one_seed_gives_the_same_weights_file_to_the_byte(tmp_path):
    config = tiny(epochs=2, augment=AUGMENT)
    first, second = (train(config, stripes(), tmp_path / name).weights.read_bytes() for name in "ab")
    assert first == second
    other = train(tiny(epochs=2, augment=AUGMENT, seed=1), stripes(), tmp_path / "c")
    assert other.weights.read_bytes() != first


def test_a_folder_in_use_is_refused_and_free_afterwards(tmp_path):
    refused = []

    def start_second(progress):
        with pytest.raises(TrainingError, match="Another process is training into .* Wait until it ends"):
            train(tiny(), stripes(), tmp_path)
        refused.append(progress.step)

    train(tiny(epochs=1), stripes(), tmp_path, callbacks=TrainingCallbacks(on_progress=start_second))
    assert refused == [1, 2, 3, 4]
    train(tiny(epochs=1), stripes(), tmp_path)


@pytest.mark.slow
def test_the_second_of_two_processes_is_refused_before_it_trains(tmp_path, waiting):
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, _, errors = run_python("-c", SCRIPT, tmp_path, 60, "train")
    assert code == 1
    assert "Another process is training into" in errors
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    waiting.communicate("go on\n")
    assert waiting.returncode == 0
