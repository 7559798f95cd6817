import numpy as np
import pytest
from PIL import Image

from fer_attention.data import DataError, FaceDataset, ImageFiles
from fer_attention.emotions import FER2013
from fer_attention.evaluation import match_labels, predict_crops
from fer_attention.models import create_model
from fer_attention.preprocessing import Preprocessing


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_on_disk_are_predicted_like_those_in_memory(channels, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 48, 48), dtype=np.uint8)
    files = tuple(tmp_path / f"{number}.png" for number in range(7))
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    model = create_model("resnet18", width=0.25, stem="half", in_chans=channels)
    model.preprocessing = Preprocessing((48, 48), channels, (0.5,) * channels, (0.5,) * channels)
    columns = np.arange(7), np.arange(7).astype(str), np.repeat("all", 7), FER2013
    on_disk = FaceDataset(ImageFiles(files, channels=channels), *columns)
    in_memory = FaceDataset(on_disk.images[:], *columns)
    whole = predict_crops(model, in_memory)
    monkeypatch.setattr("fer_attention.evaluation.crops.BLOCK", 3)
    np.testing.assert_allclose(predict_crops(model, on_disk), whole, atol=1e-6)
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-12)
    assert whole.shape == (7, 7)


def test_a_model_without_preprocessing_and_empty_crops_are_refused():
    model = create_model("resnet18", width=0.25)
    crops = FaceDataset(
        np.zeros((1, 48, 48), np.uint8), np.zeros(1, int), np.array(["a"]), np.array(["all"]), FER2013
    )
    model.preprocessing = None
    with pytest.raises(ValueError, match="model lacks preprocessing"):
        predict_crops(model, crops)
    model.preprocessing = Preprocessing()
    with pytest.raises(ValueError, match="no image"):
        predict_crops(model, crops.take(np.zeros(1, dtype=bool)))


def test_labels_are_matched_by_name_and_unused_ones_may_be_unknown():
    images = np.zeros((3, 48, 48), np.uint8)
    names = np.array(list("abc")), np.repeat("all", 3)
    crops = FaceDataset(images, np.array([1, 0, 1]), *names, ("joy", "Sadness", "contempt"))
    matched, dropped = match_labels(crops, FER2013)
    assert [FER2013[label] for label in matched.labels] == ["sad", "happy", "sad"]
    assert (matched.label_names, dropped) == (FER2013, {})
    with_contempt = FaceDataset(images, np.array([2, 0, 1]), *names, crops.label_names)
    with pytest.raises(DataError, match=r"contempt \(images: 1\)"):
        match_labels(with_contempt, FER2013)
    matched, dropped = match_labels(with_contempt, FER2013, drop_unknown=True)
    assert matched.names.tolist() == ["b", "c"]
    assert dropped == {"contempt": 1}
