"""A run that stops anywhere goes on as if it had not: exceptions, signals, SIGKILL, a full disk."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from fer_attention.training import TrainingCallbacks, TrainingError, TrainingStopped, train
from tests.support.paths import ROOT
from tests.support.tiny_runs import assert_same_run, checkpoint_of, stripes, tiny, untrained

AUGMENT = {"flip": 0.5, "rotate": 10, "erase": 0.5, "mixup": 0.2}


class StoppedError(Exception):
    pass


def stop_at(epoch, step):
    def on_progress(progress):
        if (progress.epoch, progress.step) == (epoch, step):
            raise StoppedError

    return TrainingCallbacks(on_progress=on_progress)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "plateau"])
@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 3), (3, 4)])
def test_a_run_stopped_at_a_step_ends_as_if_it_had_not_been(tmp_path, epoch, step, schedule):
    config = tiny(augment=AUGMENT, checkpoint_minutes=0, schedule=schedule, patience=1)
    train(config, stripes(), tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(config, stripes(), tmp_path / "parts", callbacks=stop_at(epoch, step))
    train(config, stripes(), tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_resumed_run_takes_up_the_step_and_not_only_the_epoch(tmp_path):
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
def test_another_run_does_not_go_on_in_a_used_folder(tmp_path, fields, data, message):
    with pytest.raises(StoppedError):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path, callbacks=stop_at(1, 2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TrainingError, match=message):
        train(tiny(**fields), data, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("role", ["start weights", "teacher"])
def test_a_replaced_file_is_named_and_a_moved_one_is_the_same(tmp_path, role):
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
        f"{folder} holds a run whose {role} was {path} with other content: that file was replaced since. "
        "Choose another folder, or remove that one to start afresh."
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
def test_a_run_that_is_told_to_stop_saves_and_continues_to_the_same_weights(tmp_path, asked):
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


def test_epochs_of_one_step_can_be_stopped_between_and_the_last_one_is_finished(tmp_path):
    config = tiny(batch_size=64)
    for done in (1, 2):
        with pytest.raises(TrainingStopped):
            train(config, stripes(), tmp_path, stop=lambda: True)
        assert len(checkpoint_of(tmp_path)["history"]) == done
    assert len(train(config, stripes(), tmp_path, stop=lambda: True).history) == 3


def test_a_damaged_checkpoint_is_not_trusted_on_anyones_advice(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError) as caught:
        train(tiny(), stripes(), tmp_path)
    assert "weights_only" not in str(caught.value)  # torch advises to switch that off


def test_fields_that_change_no_number_may_change(tmp_path):
    with pytest.raises(StoppedError):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path, callbacks=stop_at(1, 2))
    train(tiny(checkpoint_minutes=3, workers=0), stripes(), tmp_path)


def test_a_checkpoint_that_is_none_is_named(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="checkpoint.pt is not a checkpoint .* Remove it"):
        train(tiny(), stripes(), tmp_path)


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    leftover = tmp_path / ".checkpoint.pt.abcd1234"
    leftover.write_bytes(b"half")
    train(tiny(epochs=1), stripes(), tmp_path)
    assert not leftover.exists()


def test_a_diverging_run_keeps_its_last_good_checkpoint(tmp_path, monkeypatch):
    from fer_attention.training import run  # noqa: PLC0415

    with pytest.raises(StoppedError):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path, callbacks=stop_at(2, 2))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(run, "create_loss", lambda *_, **__: lambda logits, targets: logits.sum() * torch.nan)
    with pytest.raises(TrainingError, match="in epoch 2, step 3 of 4"):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_full_disk_is_said_and_leaves_the_checkpoint_whole(tmp_path):
    """The limit on file sizes stands for the full disk: the kernel refuses to write on."""
    with pytest.raises(StoppedError):
        train(tiny(checkpoint_minutes=0), stripes(), tmp_path, callbacks=stop_at(1, 2))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(TrainingError, match=r"Cannot write .*checkpoint.pt.* saved before is whole"):
            train(tiny(checkpoint_minutes=0), stripes(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    train(tiny(checkpoint_minutes=0), stripes(), tmp_path)


def test_a_folder_that_cannot_be_made_is_said_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="Cannot make the folder"):
        train(tiny(), stripes(), tmp_path / "file" / "run")


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.support.tiny_runs import stripes, tiny
from tests.training.test_checkpoint import AUGMENT
from fer_attention.training import TrainingCallbacks, train
def show(progress):
    print(progress.epoch, progress.step, flush=True)
config = tiny(epochs=12, augment=AUGMENT, checkpoint_minutes=float(sys.argv[3]))
train(config, stripes(), Path(sys.argv[2]), callbacks=TrainingCallbacks(on_progress=show))
"""


def start(folder, minutes):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT), str(folder), str(minutes)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(folder, minutes):
    process = start(folder, minutes)
    process.communicate()
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [0, 60], ids=["saving at every step", "saving at every epoch"])
def test_a_killed_process_goes_on_to_bit_identical_weights(tmp_path, minutes):
    finish(tmp_path / "whole", minutes)
    generator = random.Random(minutes)
    for _ in range(4):  # each part is killed at some moment of some later step, often while it saves
        process = start(tmp_path / "parts", minutes)
        for _ in range(generator.randint(3, 9)):
            process.stdout.readline()
        time.sleep(generator.uniform(0, 0.06))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(tmp_path / "parts", minutes)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_saves_before_the_process_ends(tmp_path, number, code):
    process = start(tmp_path, 60)
    for _ in range(6):
        line = process.stdout.readline()
    process.send_signal(number)
    rest = process.communicate()[0].splitlines()
    assert process.returncode in (code, -number)
    epoch, step = map(int, (rest or [line])[-1].split())
    state = checkpoint_of(tmp_path)
    done = len(state["history"]) * 4 + state["position"][0]
    assert done >= (epoch - 1) * 4 + step
    assert torch.isfinite(state["model"]["stem.conv.weight"]).all()
