"""Helpers of the training tests: tiny configs, learnable crops, interruptions, and comparisons."""

import os
import signal
import threading
from dataclasses import replace

import numpy as np
import torch

from fer_attention.data import FaceDataset
from fer_attention.emotions import FER2013
from fer_attention.models import create_model, load_weights, save_weights
from fer_attention.preprocessing import Preprocessing
from fer_attention.training import TrainConfig, TrainingCallbacks
from fer_attention.training.setup import create_initial_model

TINY = {
    "model": "resnetv2_18_eca_elu",
    "structure": {"width": 0.125, "stem": "half", "img_size": 16, "drop_rate": 0.1},
    "epochs": 3,
    "batch_size": 16,
    "lr": 0.05,
    "ema_decay": 0.8,
    "precision": "float32",
    "trackers": (),
}


def tiny(**fields):
    return TrainConfig(**{**TINY, **fields})


def stripes(count=96, seed=0):
    """Build noisy crops of 16×16 in which the position of a bright bar is the label."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 7, count)
    images = generator.integers(0, 100, (count, 16, 16))
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 1 : 2 * label + 3] += 150
    return FaceDataset(
        images=images.astype(np.uint8),
        labels=labels,
        names=np.array([f"{i}" for i in range(count)]),
        splits=np.array(["train"] * (count - 32) + ["public"] * 32),
        label_names=FER2013,
    )


def untrained(path, labels=FER2013, **fields):
    """Write the initial weights of the tiny model for a seed; return the path as a string."""
    structure = {"width": 0.125, "img_size": 16}
    model = create_initial_model(tiny(structure=structure, **fields), replace(stripes(), label_names=labels))
    with torch.no_grad():
        model.get_classifier().weight.mul_(20)  # distinct predictions
        model.get_classifier().bias.copy_(torch.linspace(-1, 1, len(labels)))
    return str(save_weights(model, path))


def kill_after(seconds):
    """Kill this process after some time, in the middle of whatever it does then."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


class StoppedError(Exception):
    """Stops a run from one of its callbacks."""


def stop_at(epoch, step):
    def on_progress(progress):
        if (progress.epoch, progress.step) == (epoch, step):
            raise StoppedError

    return TrainingCallbacks(on_progress=on_progress)


def state_of(result):
    return load_weights(result.weights).state_dict()


def checkpoint_of(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["run"]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def assert_same_run(a, b):
    """Check that two folders contain bit-identical runs."""
    one, other = checkpoint_of(a), checkpoint_of(b)
    for part in ("model", "ema"):
        assert_same(one[part], other[part])
    timed = {"seconds", "images_per_second"}
    assert len(one["history"]) == len(other["history"])
    for x, y in zip(one["history"], other["history"], strict=True):
        assert {k: v for k, v in x.items() if k not in timed} == {
            k: v for k, v in y.items() if k not in timed
        }
    assert_same(
        load_weights(a / "best.safetensors").state_dict(), load_weights(b / "best.safetensors").state_dict()
    )


def write_weights(path, **options):
    """Save a small model with FER2013's labels and random weights; options are those of `save_weights`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model("resnet18_se", width=0.25, stem="half")
    model.labels, model.preprocessing = FER2013, Preprocessing()
    return save_weights(model, path, record={"seed": 0}, **options)
