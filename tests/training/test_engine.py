"""Training runs: results, options, data, and errors."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fer_attention import create_model
from fer_attention.data import DataError, FaceDataset, ImageFiles
from fer_attention.emotions import FER2013
from fer_attention.models import load_weights, read_metadata
from fer_attention.training import TrainingCallbacks, TrainingError, TrainingWarning, train
from tests.support.tiny_runs import assert_same, state_of, stripes, tiny

pytestmark = pytest.mark.usefixtures("without_curves")


def test_a_small_model_learns_a_separable_task(tmp_path):
    epochs = []
    config = tiny(epochs=12, augment={"flip": 0.5})
    result = train(config, stripes(400), tmp_path, callbacks=TrainingCallbacks(on_epoch=epochs.append))
    assert [epoch.epoch for epoch in epochs] == list(range(1, 13))
    assert tuple(epochs) == result.history
    assert result.best.validation_accuracy == max(epoch.validation_accuracy for epoch in epochs) > 0.9
    assert epochs[-1].loss < epochs[0].loss
    record = read_metadata(result.weights).record
    assert record["selection_accuracy"] == result.best.validation_accuracy
    assert record["selected_on"] == "public"
    assert record["config"] == config.model_dump(mode="json")
    assert load_weights(result.weights).labels == FER2013


def test_a_run_writes_config_history_and_result(tmp_path):
    result = train(tiny(trackers=("tensorboard",)), stripes(), tmp_path)
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == [epoch.loss for epoch in result.history]
    summary = json.loads((tmp_path / "result.json").read_text())
    assert summary["best"]["epoch"] == result.best.epoch
    assert summary["training_images"] == 64
    assert summary["environment"]["torch"] == torch.__version__
    assert list((tmp_path / "tracking").glob("events.*"))


def test_weights_are_determined_by_the_seed(tmp_path):
    runs = [
        state_of(train(tiny(seed=seed), stripes(), tmp_path / str(i))) for i, seed in enumerate((1, 1, 2))
    ]
    assert_same(runs[0], runs[1])
    assert not torch.equal(runs[0]["stem.conv.weight"], runs[2]["stem.conv.weight"])


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "cosine"},
        {"schedule": "step", "decay_epochs": 1},
        {"schedule": "plateau", "patience": 1},
        {"schedule": "constant", "optimizer": "adam", "lr": 1e-3},
        {"optimizer": "adamw", "lr": 1e-3, "layer_decay": 0.7, "schedule": "cosine"},
        {"loss": "focal", "class_weights": "balanced"},
        {"loss": "binary", "sampling": "balanced"},
        {"augment": {"mixup": 0.4, "cutmix": 1.0, "crop": 0.9, "rotate": 5, "erase": 0.3}},
        {"accumulate": 2, "batch_size": 8, "clip_norm": 1.0},
        {"precision": "bfloat16", "channels_last": False, "ema_decay": 0.0},
        {"freeze": ("stem", "stages.0"), "normalization": "unit"},
    ],
    ids=lambda fields: "-".join(map(str, fields)),
)
def test_every_option_trains(tmp_path, fields):
    result = train(tiny(epochs=6, **fields), stripes(200), tmp_path)
    assert result.history[-1].loss < result.history[0].loss
    assert result.best.validation_accuracy > 0.2  # the largest class has a share of 0.19


def test_frozen_submodules_keep_weights_and_statistics(tmp_path):
    first = train(tiny(epochs=1, lr=1e-6), stripes(), tmp_path / "a")
    config = tiny(structure={}, weights=str(first.weights), freeze=("stem", "stages.0"), epochs=2)
    before, after = state_of(first), state_of(train(config, stripes(seed=1), tmp_path / "b"))
    kept = [name for name in before if name.startswith(("stem.", "stages.0."))]
    assert kept
    for name in kept:
        assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["head.fc.weight"], after["head.fc.weight"])


def test_start_weights_of_another_model_are_rejected(tmp_path):
    first = train(tiny(epochs=1), stripes(), tmp_path / "a")
    config = tiny(model="resnet18", structure={}, weights=str(first.weights))
    with pytest.raises(TrainingError, match="Set model=resnetv2_18_eca_elu, or weights=null"):
        train(config, stripes(), tmp_path / "b")


def test_a_teacher_corrects_noisy_labels(tmp_path):
    teacher = train(tiny(epochs=6), stripes(400), tmp_path / "teacher").weights
    wrong = stripes(400)
    shuffled = np.random.default_rng(0).permutation(wrong.labels)
    labels = np.where(wrong.splits == "train", shuffled, wrong.labels)
    noisy = FaceDataset(wrong.images, labels, wrong.names, wrong.splits, wrong.label_names)
    quiet = {"callbacks": TrainingCallbacks(on_warning=lambda text: None)}
    alone = train(tiny(epochs=4), noisy, tmp_path / "alone", **quiet).best
    config = tiny(epochs=4, teachers=(str(teacher),), teacher_weight=0.9)
    taught = train(config, noisy, tmp_path / "taught", **quiet).best
    assert taught.validation_accuracy > alone.validation_accuracy + 0.2


def test_votes_are_used_as_target_distributions(tmp_path):
    data = stripes(400)
    even = np.full((400, 7), 1 / 7, dtype=np.float32)
    votes = FaceDataset(data.images, data.labels, data.names, data.splits, FER2013, targets=even)
    result = train(tiny(epochs=4, label_smoothing=0.0), votes, tmp_path)
    assert result.history[-1].loss == pytest.approx(np.log(7), abs=0.05)


def test_early_stopping_counts_epochs_without_improvement(tmp_path):
    result = train(tiny(epochs=60, stop_after=3, lr=0.2), stripes(), tmp_path)
    lowest = min(result.history, key=lambda epoch: epoch.validation_loss)
    assert len(result.history) == lowest.epoch + 3 < 60
    again = train(tiny(epochs=60, stop_after=3, lr=0.2), stripes(), tmp_path)
    assert again.history == result.history


@pytest.mark.parametrize("select_by", ["accuracy", "balanced_accuracy", "loss"])
def test_the_first_best_epoch_is_saved(tmp_path, select_by):
    result = train(tiny(epochs=6, select_by=select_by), stripes(), tmp_path)
    values = [getattr(epoch, f"validation_{select_by}") for epoch in result.history]
    chosen = min(values) if select_by == "loss" else max(values)
    assert result.best.epoch == values.index(chosen) + 1
    assert read_metadata(result.weights).record["selected_epoch"] == result.best.epoch


@pytest.mark.parametrize("fields", [{"lr": 1e30}, {"lr": 1e4, "ema_decay": 0.0, "warmup": 0.01}])
def test_a_diverging_loss_stops_the_run_with_its_position(tmp_path, fields):
    message = r"(loss is (nan|inf)|loss has diverged: \S+) in epoch \d, step \d of 4, learning rate"
    with pytest.raises(TrainingError, match=message):
        train(tiny(epochs=20, **fields), stripes(), tmp_path)


def test_overfitting_is_reported_once(tmp_path):
    data = stripes()
    labels = np.where(data.splits == "train", np.random.default_rng(1).integers(0, 7, 96), data.labels)
    noisy = FaceDataset(data.images, labels, data.names, data.splits, FER2013)
    texts = []
    config = tiny(epochs=40, label_smoothing=0.0, augment={"flip": 0}, schedule="constant", warmup=0)
    result = train(config, noisy, tmp_path, callbacks=TrainingCallbacks(on_warning=texts.append))
    assert len([text for text in texts if "overfitting" in text]) == 1
    assert result.warnings == tuple(texts)
    again = train(config, noisy, tmp_path, callbacks=TrainingCallbacks(on_warning=texts.append))
    assert again.warnings == result.warnings == tuple(texts)  # stored, and not reported again


def test_warnings_are_python_warnings_by_default(tmp_path):
    with pytest.warns(TrainingWarning, match="word"):
        TrainingCallbacks().on_warning("word")


def test_fewer_images_than_a_batch_are_rejected(tmp_path):
    with pytest.raises(TrainingError, match="64 training images do not fill a batch of 512"):
        train(tiny(batch_size=512), stripes(), tmp_path)


def test_float16_on_the_cpu_is_rejected(tmp_path):
    with pytest.raises(TrainingError, match="bfloat16 or float32"):
        train(tiny(precision="float16"), stripes(), tmp_path, device="cpu")


def test_missing_trackers_and_unknown_submodules_are_named(tmp_path):
    with pytest.raises(ImportError, match="nosuch"):
        train(tiny(trackers=("nosuch",)), stripes(), tmp_path)
    with pytest.raises(TrainingError, match="no submodule 'stme'; known: stem"):
        train(tiny(freeze=("stme",)), stripes(), tmp_path)


def test_data_without_a_selection_split_is_rejected(tmp_path):
    data = stripes()
    whole = FaceDataset(data.images, data.labels, data.names, np.array(["train"] * 96), FER2013)
    with pytest.raises(DataError, match="No split to select"):
        train(tiny(), whole, tmp_path)


def test_the_random_state_of_the_caller_is_restored(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(tiny(epochs=1), stripes(), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_only_training_and_selection_split_are_used(tmp_path):
    data = stripes(128)
    with_report = FaceDataset(
        images=np.concatenate([data.images, data.images]),
        labels=np.concatenate([data.labels, data.labels]),
        names=np.concatenate([data.names, np.char.add(data.names, "p")]),
        splits=np.concatenate([data.splits, np.array(["private"] * 128)]),
        label_names=FER2013,
    )
    a, b = (train(tiny(epochs=1), d, tmp_path / n) for d, n in ((data, "a"), (with_report, "b")))
    assert_same(state_of(a), state_of(b))


def test_a_model_with_three_channels_trains_on_grey_crops(tmp_path):
    structure = {"width": 0.125, "stem": "half", "img_size": 16, "in_chans": 3}
    result = train(tiny(epochs=1, structure=structure), stripes(), tmp_path)
    preprocessing = load_weights(result.weights).preprocessing
    assert preprocessing.channels == 3
    pixels = stripes().split("train").images / 255
    assert preprocessing.mean == pytest.approx([pixels.mean()] * 3, abs=1e-4)
    assert preprocessing.std == pytest.approx([pixels.std()] * 3, abs=1e-4)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_on_disk_train_like_crops_in_memory(tmp_path, monkeypatch, workers):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # forked workers can hang with a thread pool
    data = stripes()
    paths = []
    for name, image in zip(data.names, data.images, strict=True):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(image).save(paths[-1])
    streamed = FaceDataset(
        ImageFiles(tuple(paths), size=(16, 16)), data.labels, data.names, data.splits, FER2013
    )
    config = tiny(epochs=2, workers=workers)
    in_memory = train(config, data, tmp_path / "memory")
    assert_same(state_of(in_memory), state_of(train(config, streamed, tmp_path / "disk")))


def test_backbone_weights_initialise_the_backbone(tmp_path):
    structure = {"img_size": 16, "in_chans": 3}
    file = tmp_path / "resnet18.safetensors"
    plain = create_model("resnet18", num_classes=1000, **structure)
    save_file(plain.state_dict(), file)
    config = tiny(
        model="resnet18_cbam",
        structure=structure,
        backbone_weights=str(file),
        epochs=1,
        lr=1e-9,
        ema_decay=0.0,
    )
    trained = state_of(train(config, stripes(), tmp_path / "run"))
    for name in ("conv1.weight", "layer4.1.conv2.weight"):
        torch.testing.assert_close(trained[name], plain.state_dict()[name], rtol=1e-4, atol=1e-5)
    assert trained["fc.weight"].shape == (7, 512)


@pytest.mark.slow
def test_a_compiled_model_trains(tmp_path):
    result = train(tiny(epochs=2, compile=True), stripes(), tmp_path, device="cpu")
    eager = train(tiny(epochs=2), stripes(), tmp_path / "eager", device="cpu")
    assert result.history[-1].loss == pytest.approx(eager.history[-1].loss, rel=0.05)
    assert load_weights(result.weights).labels == FER2013
