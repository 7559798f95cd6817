"""Whatever is wrong with a weights file, it is refused by one error that names the file and says why."""

import dataclasses
import json
import pickle
import re
import resource
import struct

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from fer_attention.models import WeightsError, create_model, load_weights, read_metadata, save_weights
from fer_attention.preprocessing import Preprocessing


def tiny():
    torch.manual_seed(0)
    return create_model("resnet18_eca_elu", width=0.125).eval()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small weights file, as bytes."""
    return save_weights(tiny(), tmp_path_factory.mktemp("w") / "w.safetensors").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def refused(path, *texts):
    """Loading is a WeightsError that names the file, for every way to read it; gives the message."""
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    for text in (str(path), *texts):
        assert text in str(caught.value)
    return str(caught.value)


def content(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118


def rewritten(whole, path, *, tensors=None, **metadata):
    """The file with some tensors and metadata exchanged; None takes one out."""
    path.write_bytes(whole)
    old_tensors, old_metadata = content(path)
    new_tensors = {k: v.clone() for k, v in (old_tensors | (tensors or {})).items() if v is not None}
    save_file(new_tensors, path, {k: v for k, v in (old_metadata | metadata).items() if v is not None})
    return path


def spec(**changes):
    """Metadata with a changed spec of `tiny()`."""
    fields = {"backbone": "resnet18", "attention": "eca", "activation": "elu", "width": 0.125}
    return {"spec": json.dumps(fields | changes)}


def preprocessing(**changes):
    """Metadata with a changed preprocessing of `tiny()`."""
    return {"preprocessing": json.dumps(json.loads(Preprocessing().to_json()) | changes)}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True))
@example(0.0)
def test_a_file_cut_anywhere_is_refused(whole, folder, fraction):
    path = folder / "cut.safetensors"
    path.write_bytes(whole[: int(fraction * len(whole))])
    assert re.search(r"is empty|safetensors|is a text file", refused(path))


@pytest.mark.parametrize("missing", [1, 2, 7, 8, 9, 100])
def test_a_file_with_missing_or_extra_bytes_is_refused(whole, tmp_path, missing):
    path = tmp_path / "w.safetensors"
    for damaged in (whole[:-missing], whole[:missing], whole + b"x" * missing, whole[missing:]):
        path.write_bytes(damaged)
        assert re.search(r"safetensors|is a text file", refused(path))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_in_the_header_is_refused_or_harmless(whole, folder, data):
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    position = data.draw(st.integers(0, header - 1))
    byte = data.draw(st.integers(32, 126) | st.integers(0, 255))
    path = folder / "flipped.safetensors"
    path.write_bytes(whole[:position] + bytes([byte]) + whole[position + 1 :])
    for read in (load_weights, read_metadata):
        try:
            read(path)
        except WeightsError as error:
            assert str(path) in str(error)  # noqa: PT017  (a changed label is no damage that shows)


@pytest.mark.parametrize("read", [load_weights, read_metadata])
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "zeros", "pickle", "foreign", "png"])
def test_other_files_are_refused(kind, read, tmp_path):
    path = tmp_path / f"{kind}.safetensors"
    if kind == "folder":
        path.mkdir()
    elif kind == "pickle":
        path = tmp_path / "w.pth"
        torch.save(tiny().state_dict(), path)
    elif kind == "foreign":
        save_file({"weight": torch.ones(3)}, path, {"format": "pt"})
    elif kind != "missing":
        starts = {
            "empty": b"",
            "text": b"hello " * 99,
            "zeros": bytes(999),
            "png": b"\x89PNG\r\n\x1a\n" * 9,
        }
        path.write_bytes(starts[kind])
    with pytest.raises(WeightsError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    expected = {
        "missing": "is not a file",
        "folder": "is a folder",
        "empty": "is empty",
        "text": "is a text file",
        "zeros": "neither a PyTorch checkpoint nor a safetensors file",
        "pickle": "is a PyTorch checkpoint",
        "foreign": "its format is 'pt'",
        "png": "is a picture",
    }
    assert expected[kind] in str(caught.value)


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for name in ("trap.pth", "trap.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        refused(tmp_path / name, "is a PyTorch checkpoint")
    assert not (tmp_path / "sprung").exists()


def test_a_safetensors_file_without_metadata_is_refused(tmp_path):
    save_file({"weight": torch.ones(3)}, tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", "not a model file of this library", "its format is not given")


def test_a_later_format_is_refused_with_both_numbers(whole, tmp_path):
    path = rewritten(whole, tmp_path / "w.safetensors", format="fer_attention/2")
    refused(path, "'fer_attention/2'", "'fer_attention/1'")


@pytest.mark.parametrize(
    ("metadata", "texts"),
    [
        ({"spec": None}, ["spec"]),
        ({"spec": "{"}, ["metadata"]),
        ({"spec": "[]"}, ["Not a model spec"]),
        ({"spec": "null"}, ["Not a model spec"]),
        (spec(backbone="resnet19"), ["Unknown backbone 'resnet19'", "'resnet18'"]),
        (spec(backbone=["resnet18"]), ["metadata"]),
        (spec(depth=9), ["Not a model spec", "depth"]),
        (spec(width=-1), ["width", "-1"]),
        (spec(attention_options={"k": 1}), ["'k'"]),
        (spec(attention_options={"kernel_size": "3"}), ["metadata"]),
        (spec(attention="se", attention_options={"reduction": 9999}), ["reduction=9999"]),
        (spec(num_classes=1e3), ["num_classes", "1000.0"]),
        (spec(attention="none"), ["layer1.0.attn.conv.weight", "no such tensor"]),
        (spec(backbone="resnet34"), ["layer1.2", "missing"]),
        (spec(width=1.0), ["bn1.bias", "(8,)", "(64,)"]),
        (spec(num_classes=8), ["8 outputs, but 7 labels"]),
        ({"labels": None}, ["labels"]),
        ({"labels": '["a", "b"]'}, ["7 outputs, but 2 labels"]),
        ({"labels": '"abcdefg"'}, ["not a list of names"]),
        ({"labels": "[1, 2, 3, 4, 5, 6, 7]"}, ["not a list of names"]),
        ({"labels": "null"}, ["not a list of names"]),
        ({"labels": "{"}, ["metadata"]),
        ({"preprocessing": None}, ["preprocessing"]),
        ({"preprocessing": "5"}, ["metadata"]),
        ({"preprocessing": "{}"}, ["metadata"]),
        ({"preprocessing": "[" * 100_000}, ["metadata"]),
        (spec(in_chans=10**9), ["in_chans", "from 1 to 1000"]),
        (spec(num_classes=10**12), ["num_classes", "from 0 to 100000"]),
        (spec(img_size=[30_000, 30_000]), ["img_size", "from 1 to 4096"]),
        (spec(in_chans=3), ["takes 3 channels, its preprocessing gives 1"]),
        ({"labels": '["a", "a", "b", "c", "d", "e", "f"]'}, ["'a' is given twice"]),
        ({"labels": '["a", " ", "b", "c", "d", "e", "f"]'}, ["name of at most 100 characters"]),
        ({"labels": json.dumps(["x" * 10**6, *"abcdef"])}, ["name of at most 100 characters"]),
        ({"labels": "[" + "9" * 5000 + "]"}, ["metadata"]),
        ({"format": "x" * 10**6}, ["its format is 'xxx"]),
        (spec(backbone="x" * 10**6), ["Unknown backbone"]),
        (preprocessing(size=[30_000, 30_000]), ["whole pixels from 1 to 4096", "30000"]),
        (preprocessing(size=[48.5, 48]), ["whole pixels", "48.5"]),
        (preprocessing(channels=True), ["channels is 1"]),
        (preprocessing(mean=[float("nan")]), ["finite"]),
        (preprocessing(std=[float("inf")]), ["finite"]),
        (preprocessing(mean=[10**400]), ["metadata"]),
        (preprocessing(crop_rule={"scale": 1e308}), ["scale", "at most 100"]),
        (preprocessing(channels=3, mean=[0.5] * 3, std=[0.5] * 3), ["takes 1 channels"]),
    ],
    ids=lambda value: str(value)[:70],
)
def test_damaged_metadata_is_refused_with_what_is_wrong(metadata, texts, whole, tmp_path):
    assert len(refused(rewritten(whole, tmp_path / "w.safetensors", **metadata), *texts)) < 1000


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Preprocessing)])
def test_a_damaged_preprocessing_is_refused(field, whole, tmp_path):
    path = rewritten(whole, tmp_path / "w.safetensors")
    record = json.loads(content(path)[1]["preprocessing"])
    assert field in record
    for value in (None, []):
        damaged = json.dumps({**record, field: value})
        refused(rewritten(whole, path, preprocessing=damaged), "metadata")
    refused(rewritten(whole, path, preprocessing=json.dumps({**record, "x": 1})), "metadata", "x")


@pytest.mark.parametrize("record", ["{", "5", '"x"', "[1]"])
def test_a_damaged_record_is_refused(record, whole, tmp_path):
    path = rewritten(whole, tmp_path / "w.safetensors", record=record)
    refused(path, "metadata cannot be used")


@pytest.mark.parametrize("entry", [{"heat": 2}, {"temperature": -1}, "hot"])
def test_a_damaged_calibration_is_refused(entry, whole, tmp_path):
    path = rewritten(whole, tmp_path / "w.safetensors", record=json.dumps({"calibration": entry}))
    refused(path, "calibration")


@pytest.mark.parametrize(
    ("tensors", "texts"),
    [
        ({"conv1.weight": None}, ["conv1.weight is missing"]),
        ({"extra": torch.ones(2)}, ["extra", "no such tensor"]),
        ({"conv1.weight": torch.ones(8, 1, 3, 3)}, ["conv1.weight", "(8, 1, 3, 3)", "(8, 1, 7, 7)"]),
        ({"conv1.weight": torch.ones(8, 1, 7, 7, dtype=torch.int32)}, ["conv1.weight", "int32"]),
        ({"bn1.num_batches_tracked": torch.ones(())}, ["bn1.num_batches_tracked", "int64"]),
        ({"x" * 10**5: torch.ones(2)}, ["no such tensor"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_tensors_that_do_not_fit_the_spec_are_refused_by_name(tensors, texts, whole, tmp_path):
    refused(rewritten(whole, tmp_path / "w.safetensors", tensors=tensors), "resnet18_eca_elu", *texts)


@pytest.mark.parametrize(("name", "value"), [("fc.bias", torch.nan), ("bn1.running_var", torch.inf)])
def test_values_that_are_not_finite_are_refused_by_name(name, value, whole, tmp_path):
    tensors = {name: torch.full_like(tiny().state_dict()[name], value)}
    path = rewritten(whole, tmp_path / "w.safetensors", tensors=tensors)
    refused(path, f"NaN or infinite values in {name}")


def test_every_refusal_is_a_value_error():
    assert issubclass(WeightsError, ValueError)


def test_a_head_for_another_size_than_the_preprocessing_is_refused(tmp_path):
    model = create_model("vgg11", width=0.125)
    model.preprocessing = Preprocessing(size=(64, 64))
    with pytest.raises(WeightsError, match=r"head takes faces of \(48, 48\) pixels, its preprocessing gives"):
        save_weights(model, tmp_path / "w.safetensors")


def test_weights_that_are_not_finite_or_overflow_the_type_are_not_saved(tmp_path):
    for value, dtype in ((torch.nan, None), (1e6, torch.float16)):
        model = tiny()
        model.conv1.weight.data.fill_(value)
        with pytest.raises(WeightsError, match=r"The model has NaN or infinite values in conv1\.weight"):
            save_weights(model, tmp_path / "w.safetensors", dtype=dtype)
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_huge_numbers_costs_no_memory(whole, tmp_path):
    path = rewritten(whole, tmp_path / "w.safetensors", **spec(in_chans=10**9))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, "in_chans")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
