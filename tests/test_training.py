import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fer_attention.data import FaceCrops
from fer_attention.emotions import FER2013
from fer_attention.models import load_weights, read_record
from fer_attention.training import TrainConfig, TrainingError, load_recipe, recipe_names, train
from fer_attention.training.augment import augmentation
from fer_attention.training.config import AugmentConfig

TINY = {
    "model": "resnetv2_18_eca_elu",
    "structure": {"width": 0.125, "stem": "half", "img_size": 16},
    "epochs": 3,
    "batch_size": 16,
    "lr": 0.05,
    "ema_decay": 0.8,
    "precision": "float32",
}


def stripes(count=96, seed=0):
    """Crops of 16×16 in which the label is the position of a bright bar, under noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 7, count)
    images = generator.integers(0, 100, (count, 16, 16))
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 1 : 2 * label + 3] += 150
    return FaceCrops(
        images=images.astype(np.uint8),
        labels=labels,
        names=np.array([f"{i}" for i in range(count)]),
        splits=np.array(["train"] * (count - 32) + ["public"] * 32),
        label_names=FER2013,
    )


def state_of(path):
    return load_weights(path).state_dict()


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_small_model_learns_a_separable_task(tmp_path):
    config = TrainConfig(**{**TINY, "epochs": 12, "augment": AugmentConfig(flip=0.5)})
    epochs = []
    best = train(config, stripes(400), tmp_path, on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 13))
    assert max(epoch.validation_accuracy for epoch in epochs) > 0.9
    assert epochs[-1].loss < epochs[0].loss
    record = read_record(best)
    assert record["selection_accuracy"] == max(epoch.validation_accuracy for epoch in epochs)
    assert record["config"] == config.model_dump()
    assert load_weights(best).labels == FER2013
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [entry["loss"] for entry in history] == [epoch.loss for epoch in epochs]


def test_one_seed_gives_the_same_weights_twice_and_another_seed_others(tmp_path):
    runs = [
        state_of(train(TrainConfig(**TINY, seed=seed), stripes(), tmp_path / str(i)))
        for i, seed in enumerate((1, 1, 2))
    ]
    assert_same(runs[0], runs[1])
    assert not torch.equal(runs[0]["stem.conv.weight"], runs[2]["stem.conv.weight"])


class StoppedError(Exception):
    pass


def stop_after(number):
    def hook(epoch):
        if epoch.epoch == number:
            raise StoppedError

    return hook


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_stopped_between_epochs_ends_as_if_it_had_not_been(tmp_path, number):
    config = TrainConfig(**TINY, augment=AugmentConfig(flip=0.5, rotate=10, erase=0.5))
    train(config, stripes(), tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(config, stripes(), tmp_path / "parts", on_epoch=stop_after(number))
    train(config, stripes(), tmp_path / "parts")
    for folder in ("whole", "parts"):
        assert len((tmp_path / folder / "history.jsonl").read_text().splitlines()) == 3
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "parts")
    )
    assert_same(whole["model"], parts["model"])
    assert_same(whole["ema"], parts["ema"])
    assert_same(state_of(tmp_path / "whole/best.safetensors"), state_of(tmp_path / "parts/best.safetensors"))


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_training import TINY, stripes
from fer_attention.training import TrainConfig, train
config = TrainConfig(**{**TINY, "epochs": 40})
train(config, stripes(), Path(sys.argv[2]), on_epoch=lambda e: print(e.epoch, flush=True))
"""


@pytest.mark.slow
def test_a_killed_process_goes_on_to_bit_identical_weights(tmp_path):
    command = [sys.executable, "-c", SCRIPT, os.path.dirname(__file__)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    for wait in (5, 12, 23):  # epochs after which to kill
        process = subprocess.Popen(
            [*command, str(tmp_path / "parts")], stdout=subprocess.PIPE, text=True, env=environment
        )
        for line in process.stdout:
            if int(line) >= wait:
                time.sleep(0.05)
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        assert process.returncode == -signal.SIGKILL
    subprocess.run([*command, str(tmp_path / "parts")], check=True, env=environment, capture_output=True)
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "parts")
    )
    assert_same(whole["model"], parts["model"])
    assert_same(whole["ema"], parts["ema"])


def test_another_config_does_not_go_on_in_a_used_folder(tmp_path):
    with pytest.raises(StoppedError):
        train(TrainConfig(**TINY), stripes(), tmp_path, on_epoch=stop_after(1))
    with pytest.raises(TrainingError, match="another config"):
        train(TrainConfig(**{**TINY, "lr": 0.01}), stripes(), tmp_path)


def test_a_diverging_loss_stops_the_run_and_says_where(tmp_path):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch 1, step \d+ of 4"):
        train(TrainConfig(**{**TINY, "lr": 1e30}), stripes(), tmp_path)


def test_fewer_images_than_a_batch_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="do not fill a batch"):
        train(TrainConfig(**{**TINY, "batch_size": 512}), stripes(), tmp_path)


def test_the_callers_random_state_is_left_as_it_was(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(TrainConfig(**{**TINY, "epochs": 1}), stripes(), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_only_the_training_and_the_selection_split_are_looked_at(tmp_path):
    data = stripes(128)
    with_report = FaceCrops(
        images=np.concatenate([data.images, data.images]),
        labels=np.concatenate([data.labels, data.labels]),
        names=np.concatenate([data.names, np.char.add(data.names, "p")]),
        splits=np.concatenate([data.splits, np.array(["private"] * 128)]),
        label_names=FER2013,
    )
    config = TrainConfig(**{**TINY, "epochs": 1})
    assert_same(
        state_of(train(config, data, tmp_path / "a")), state_of(train(config, with_report, tmp_path / "b"))
    )


def test_augmentation_off_is_the_identity_and_on_is_per_sample():
    torch.manual_seed(0)
    images = torch.rand(1, 1, 16, 16).expand(8, 1, 16, 16).contiguous()
    assert torch.equal(augmentation(AugmentConfig(flip=0))(images), images)
    changed = augmentation(AugmentConfig(flip=0.5, rotate=20, brightness=0.3, contrast=0.3, erase=0.5))(
        images
    )
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert len({sample.numpy().tobytes() for sample in changed}) == 8


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_and_takes_changes(name):
    config = load_recipe(name, {"epochs": 2, "augment": {"flip": 0.25}})
    assert (config.epochs, config.augment.flip) == (2, 0.25)
    assert config.augment.rotate == load_recipe(name).augment.rotate


def test_another_model_starts_without_the_recipes_structure():
    assert load_recipe("compact").structure["width"] == 0.5
    assert load_recipe("compact", {"model": "resnet18"}).structure == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epoch": 3}, "epoch"),
        ({"augment": {"flipp": 1}}, "flipp"),
        ({"model": "resnet18_cbma"}, "Did you mean 'resnet18_cbam'"),
        ({"structure": {"stem": "tiny"}}, "stem is one of"),
    ],
)
def test_a_wrong_field_fails_before_anything_runs(changes, message):
    with pytest.raises(ValidationError, match=message):
        load_recipe("compact", changes)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'compact'"):
        load_recipe("compcat")


def test_a_model_of_three_channels_trains_on_grey_crops(tmp_path):
    structure = {**TINY["structure"], "in_chans": 3}
    best = train(TrainConfig(**{**TINY, "epochs": 1, "structure": structure}), stripes(), tmp_path)
    preprocessing = load_weights(best).preprocessing
    assert preprocessing.channels == 3
    pixels = stripes().split("train").images / 255
    assert preprocessing.mean == pytest.approx([pixels.mean()] * 3, abs=1e-4)
    assert preprocessing.std == pytest.approx([pixels.std()] * 3, abs=1e-4)
