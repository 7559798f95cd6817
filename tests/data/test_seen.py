"""Weights that know the images they have seen, and evaluations that compare with them."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import timm
from PIL import Image

from fer_attention.classifiers import OnnxClassifier
from fer_attention.data import DataError, FaceDataset, ImageFiles, SeenImages, create_protocol, records
from fer_attention.data.records import Division
from fer_attention.data.seen import DIVISION, SEEN, division_of, without_digests
from fer_attention.emotions import FER2013
from fer_attention.evaluation import ALL, NEW, EvaluationReport, evaluate
from fer_attention.export import export_onnx
from fer_attention.models import bundled_path, create_model, load_weights, read_metadata, save_weights
from fer_attention.preprocessing import Preprocessing
from fer_attention.training import TrainingStopped, train
from tests.support.tiny_runs import stripes, tiny, untrained

pytestmark = pytest.mark.usefixtures("without_curves")


def as_split(crops, split):
    return replace(crops, splits=np.repeat(split, len(crops)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that was trained on 64 of `stripes()` and selected on 32."""
    return load_weights(train(tiny(epochs=1), stripes(), tmp_path_factory.mktemp("run")).weights)


def train_in_memory(data):
    with TemporaryDirectory() as folder:
        return load_weights(train(tiny(epochs=1), data, Path(folder)).weights)


def undivided(count=105):
    return as_split(stripes(count), "all")


def test_data_without_splits_are_measured_on_the_held_out_fold():
    data = undivided()
    fold = create_protocol("stratified_kfold", data, seed=3, folds=4).fold(2)
    model = train_in_memory(fold.apply(data))
    assert division_of(model.record) == Division("stratified_kfold", 2, 3, {"folds": 4})
    found = evaluate(model, data)
    assert sorted(found.crops.names) == sorted(data.names[fold.test])
    assert (found.split, found.warnings) == ("test", ())
    assert found.notes[0].startswith("Measured on the test images of stratified_kfold, fold 2")
    insisted = evaluate(model, data, allow_seen=True)
    assert (insisted.results[ALL].n, insisted.results[NEW].n) == (len(data), len(fold.test))
    assert insisted.warnings


def test_other_data_are_not_divided_but_seen_images_are_left_out():
    data = undivided()
    fold = create_protocol("stratified_kfold", data, folds=3).fold(0)
    model = train_in_memory(fold.apply(data))
    grown = replace(stripes(140, seed=5), splits=np.repeat("all", 140))
    both = FaceDataset(
        np.concatenate([data.images, grown.images]),
        np.concatenate([data.labels, grown.labels]),
        np.arange(245).astype(str),
        np.repeat("all", 245),
        FER2013,
    )
    found = evaluate(model, both)
    assert (found.split, found.results[ALL].n) == ("all", 140 + len(fold.test))
    assert found.warnings[0].startswith(f"{len(fold.train) + len(fold.validation)} of the 245 images")


@pytest.mark.parametrize("number", [1, 2])
def test_another_fold_of_the_same_data_has_only_seen_images(number):
    data = undivided()
    folds = create_protocol("stratified_kfold", data, folds=3)
    model = train_in_memory(folds.fold(0).apply(data))
    with pytest.raises(DataError, match="No image of the split test is new to the model"):
        evaluate(model, folds.fold(number).apply(data))
    assert evaluate(model, folds.fold(0).apply(data)).warnings == ()


def test_a_damaged_fold_in_a_record_is_refused(trained):
    trained = load_weights(bundled_path("resnetv2_18_eca_elu.fer2013"))
    trained.record = {**trained.record, DIVISION: {"fold": 1, "sheep": 2}}
    with pytest.raises(DataError, match="record of their fold is damaged"):
        evaluate(trained, stripes())


def mixture():
    """A set without training images: 4 that trained the model, 3 that selected its epoch, 5 that are new."""
    before, new = stripes(), stripes(seed=1).images[:5]
    images = np.concatenate([before.split("train").images[:4], before.split("public").images[:3], new])
    return FaceDataset(
        images, np.arange(12) % 7, np.arange(12).astype(str), np.repeat("test", 12), before.label_names
    )


def test_a_record_restores_training_and_selection_digests():
    crops = stripes()
    seen = SeenImages.of(crops.split("train"), crops.split("public"))
    read = SeenImages.from_record({"seed": 0, **seen.to_record()})
    assert read.trained_on(crops).tolist() == (crops.splits == "train").tolist()
    assert read.selected_on(crops).tolist() == (crops.splits == "public").tolist()
    assert not read.trained_on(stripes(seed=1)).any()
    assert SeenImages.from_record({"seed": 0}) is None


@pytest.mark.parametrize(
    "entry", [5, {}, {"training": "AAAA", "selection": ""}, {"training": "?", "selection": ""}]
)
def test_a_damaged_entry_is_refused(entry):
    with pytest.raises(DataError, match="the images that they have seen is damaged"):
        SeenImages.from_record({SEEN: entry})


def test_evaluation_without_a_training_split_omits_images_seen_by_weights(trained):
    found = evaluate(trained, mixture())
    assert (found.results[ALL].n, found.results[NEW].n) == (5, 5)
    assert found.crops.names.tolist() == ["7", "8", "9", "10", "11"]
    assert found.warnings == (
        "7 of the 12 images have been seen by the model: 4 trained it, 3 selected its epoch.",
        "They are left out; --allow-seen (allow_seen=True) measures on them, too.",
    )
    assert found.notes == found.warnings
    insisted = evaluate(trained, mixture(), allow_seen=True)
    assert (insisted.results[ALL].n, insisted.results[NEW].n) == (12, 5)
    assert insisted.warnings[1] == "Numbers on all images are too good."


def test_an_evaluation_on_seen_images_alone_is_refused(trained):
    seen = mixture().take(range(7))
    message = "No image of the split test is new to the model. 7 of the 7 images .*allow_seen=True"
    with pytest.raises(DataError, match=message):
        evaluate(trained, seen)
    assert evaluate(trained, seen, allow_seen=True).results[ALL].n == 7


def test_copies_between_splits_stay_in_the_official_number():
    images, splits = stripes().images.copy(), stripes().splits.astype("U7")
    splits[-10:] = "private"
    images[-1], images[-2] = images[0], images[64]  # copies of a training and of a selection image
    data = replace(stripes(), images=images, splits=splits)
    model = train_in_memory(data)
    found = evaluate(model, data)
    assert (found.split, found.results[ALL].n, found.results[NEW].n, found.warnings) == ("private", 10, 9, ())


def test_images_of_the_training_split_count_as_copies(trained):
    tested, again = mixture(), as_split(mixture().take([10, 11]), "train")
    both = FaceDataset(
        np.concatenate([tested.images, again.images]),
        np.concatenate([tested.labels, again.labels]),
        np.arange(14).astype(str),
        np.concatenate([tested.splits, again.splits]),
        FER2013,
    )
    found = evaluate(trained, both, allow_seen=True)
    assert found.results[NEW].n == 3
    assert "2 of the 12 images are, pixel for pixel, also in the data's split train." in found.notes


def test_a_training_split_counts_as_seen_only_if_the_weights_record_it(trained, tmp_path):
    assert list(evaluate(trained, stripes(), split="train").results) == [ALL]
    foreign = as_split(mixture(), "train")
    assert evaluate(trained, foreign, split="train").results[NEW].n == 8
    unknown = load_weights(untrained(tmp_path / "w.safetensors"))
    found = evaluate(unknown, foreign, split="train")
    assert list(found.results) == [ALL]
    assert found.notes == found.warnings == ("These are the training images themselves.",)
    assert evaluate(trained, stripes(), split="train").warnings == found.warnings


def test_a_selection_split_is_measured_with_a_warning(trained):
    found = evaluate(trained, stripes(), split="public")
    assert found.results[ALL].n == 32
    assert found.warnings[0].startswith("32 of the 32 images selected the model's epoch")


def test_unknown_training_images_are_reported(tmp_path):
    found = evaluate(load_weights(untrained(tmp_path / "w.safetensors")), mixture())
    assert list(found.results) == [ALL]
    assert not found.copies.any()
    assert "could not be looked for" in found.notes[0]


def test_an_evaluation_holds_crops_probabilities_and_copies(trained):
    data = stripes()
    found = evaluate(trained, data, split="public")
    np.testing.assert_array_equal(found.crops.names, data.split("public").names)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    right = (found.probabilities.argmax(1) == found.crops.labels).sum()
    assert right == found.results[ALL].accuracy.correct


def test_seen_images_of_initial_weights_and_teachers_are_inherited(trained, tmp_path):
    save_weights(trained, tmp_path / "first.safetensors")  # keeps the record that it was loaded with
    first = str(tmp_path / "first.safetensors")
    assert SEEN in read_metadata(first).record
    other = stripes(seed=2)
    for number, origin in enumerate(({"weights": first, "structure": {}}, {"teachers": [first]})):
        result = train(tiny(epochs=1, **origin), other, tmp_path / str(number))
        seen = SeenImages.from_record(read_metadata(result.weights).record)
        assert seen.trained_on(other).tolist() == (other.splits == "train").tolist()
        assert seen.trained_on(stripes()).tolist() == (stripes().splits == "train").tolist()


def test_a_resumed_run_keeps_its_seen_images_without_rereading_them(tmp_path, monkeypatch):
    with pytest.raises(TrainingStopped):
        train(tiny(epochs=2), stripes(), tmp_path, stop=lambda: True)
    monkeypatch.setattr(records, "digest", lambda image: pytest.fail("read again"))
    result = train(tiny(epochs=2), stripes(), tmp_path)
    monkeypatch.undo()
    assert SeenImages.from_record(read_metadata(result.weights).record).trained_on(stripes()).sum() == 64


def test_digests_of_a_data_set_are_computed_once_for_all_evaluations(trained, monkeypatch):
    data, computed = stripes(), []
    digest = records.digest
    monkeypatch.setattr(records, "digest", lambda image: computed.append(1) or digest(image))
    for split in ("public", "train", "public"):
        evaluate(trained, data, split=split)
    assert len(computed) == len(data)
    replace(data, images=255 - data.images).split("public").seen_in(data)
    assert len(computed) == len(data) + 32  # other images have digests of their own


def test_a_report_omits_the_digests_of_the_record(trained):
    report = EvaluationReport.of(evaluate(trained, stripes(), split="public"), trained, weights="w", data="d")
    assert SEEN in trained.record
    assert report.to_dict()["record"] == without_digests(trained.record)
    assert report.model == "resnetv2_18_eca_elu"
    assert SEEN not in report.to_html()


def test_an_exported_file_keeps_the_record_of_seen_images(trained, tmp_path):
    classifier = OnnxClassifier(export_onnx(trained, tmp_path / "model.onnx").path, threads=1)
    found, same = (evaluate(model, mixture(), allow_seen=True) for model in (classifier, trained))
    assert found.copies.tolist() == [True] * 7 + [False] * 5
    np.testing.assert_allclose(found.probabilities, same.probabilities, atol=1e-4)
    report = EvaluationReport.of(found, classifier, weights="model.onnx", data="mixture")
    assert report.parameters == sum(parameter.numel() for parameter in trained.parameters())
    assert SEEN not in report.to_dict()["record"]


class AlwaysHappy:
    """A classifier of another kind, which keeps no metadata."""

    labels, preprocessing = FER2013, Preprocessing((16, 16), 1, (0.5,), (0.5,))

    def probabilities(self, crops, *, batch_size=64):
        return np.tile(np.eye(7)[FER2013.index("happy")], (len(crops), 1))


def test_any_classifier_is_evaluated_and_reported():
    found = evaluate(AlwaysHappy(), stripes(), split="public")
    assert found.results[ALL].accuracy.correct == (stripes().split("public").labels == 3).sum()
    report = EvaluationReport.of(found, AlwaysHappy(), weights="none", data="stripes")
    assert (report.model, report.parameters, report.record) == ("AlwaysHappy", None, {})
    assert "AlwaysHappy" in report.to_html()


def test_images_on_disk_are_compared_by_pixels(tmp_path):
    crops = stripes().take(range(4))
    files = tuple(tmp_path / f"{row}.png" for row in range(4))
    for file, image in zip(files, crops.images, strict=True):
        Image.fromarray(image).save(file)
    on_disk = replace(crops, images=ImageFiles(files, size=(16, 16)))
    np.testing.assert_array_equal(on_disk.digests, crops.digests)


def test_every_way_of_loading_keeps_the_record_of_the_weights():
    name = "resnetv2_18_eca_elu.fer2013"
    expected = read_metadata(bundled_path(name)).record
    assert create_model(name, pretrained=True).record == expected
    assert timm.create_model(name, pretrained=True).record == expected
    assert create_model(name).record == timm.create_model(name).record == {}
