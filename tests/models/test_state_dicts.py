"""Checkpoints of others: any age, nesting and suffix is read; what cannot be read says what it is."""

import argparse
import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fer_attention.models import WeightsError, create_model, fill_backbone, load_weights, read_metadata
from fer_attention.models.state_dicts import read_state_dict


def source():
    torch.manual_seed(1)
    return create_model("resnet18", width=0.125, in_chans=3)


def prefixed(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def without_counters(state):
    return OrderedDict((name, tensor) for name, tensor in state.items() if "num_batches" not in name)


def saved(path, content, **options):
    torch.save(content, path, **options)


def rezipped(path, compression):
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


READ = {
    "plain.pth": lambda path, state: saved(path, state),
    "legacy.PTH": lambda path, state: saved(path, state, _use_new_zipfile_serialization=False),
    "no suffix": lambda path, state: saved(path, state),
    "old torch.pth": lambda path, state: saved(path, without_counters(state)),
    "kuangliu.t7": lambda path, state: saved(
        path, {"net": prefixed("module.", state), "acc": 70, "epoch": 3}
    ),
    "imagenet.pth.tar": lambda path, state: saved(
        path,
        {
            "state_dict": prefixed("module.", state),
            "best_acc1": torch.tensor(70.0),
            "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        },
    ),
    "lightning.ckpt": lambda path, state: saved(
        path, {"state_dict": prefixed("model.backbone.", state), "epoch": 3, "hyper_parameters": {"lr": 0.1}}
    ),
    "training script.pt": lambda path, state: saved(
        path, {"model_state_dict": state, "args": argparse.Namespace(lr=0.1), "acc": np.float64(0.7)}
    ),
    "compiled.pt": lambda path, state: saved(path, {"model": prefixed("_orig_mod.", state)}),
    "nested.bin": lambda path, state: saved(
        path, {"a": {"model": {"state_dict": prefixed("encoder.", state)}}}
    ),
    "averaged.pth": lambda path, state: saved(
        path,
        {"state_dict": {name: torch.zeros_like(t) for name, t in state.items()}, "state_dict_ema": state},
    ),
    "class weights.pth": lambda path, state: saved(path, {"net": state, "loss": {"weight": torch.ones(7)}}),
    "safetensors.pth": lambda path, state: save_file(state, path),
    "prefixed.safetensors": lambda path, state: save_file(prefixed("module.", state), path),
}


@pytest.mark.parametrize("name", READ)
def test_weights_of_others_fill_the_whole_model(name, tmp_path):
    state = source().state_dict()
    READ[name](tmp_path / name, state)
    model = create_model("resnet18", width=0.125, in_chans=3)
    assert fill_backbone(model, tmp_path / name) == []
    for tensor_name, tensor in model.state_dict().items():
        if "num_batches" not in tensor_name:
            assert torch.equal(tensor, state[tensor_name]), tensor_name


def with_value(state, value):
    name = "layer1.0.conv1.weight"
    return {**state, name: torch.full_like(state[name], value)}


def truncated(path, state, **options):
    saved(path, state, **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def enlarged(path):
    """A file that describes a tensor of 4 GB in a few hundred bytes."""
    storage = torch.zeros(4)
    saved(path, {"conv1.weight": storage.expand(10**9, 4)})


REFUSED = {
    "absent.pth": (lambda path, state: None, "is not a file"),
    "folder.pth": (lambda path, state: path.mkdir(), "is a folder"),
    "empty.pth": (lambda path, state: path.touch(), "is empty"),
    "lfs.pth": (
        lambda path, state: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "Git LFS pointer, not the weights. Run `git lfs pull`",
    ),
    "page.pth": (lambda path, state: path.write_text("\n<!DOCTYPE html>\n<html>"), "is a web page"),
    "error.pth": (lambda path, state: path.write_text("Entry not found"), "begins with 'Entry not found'"),
    "noise.pth": (
        lambda path, state: path.write_bytes(bytes(range(256))),
        "neither a PyTorch checkpoint nor",
    ),
    "keras.h5": (lambda path, state: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "is an HDF5 file"),
    "weights.pth.gz": (
        lambda path, state: path.write_bytes(b"\x1f\x8b\x08" + bytes(99)),
        "is a gzip archive",
    ),
    "half.pth": (truncated, "truncated or damaged PyTorch checkpoint"),
    "half legacy.pth": (
        lambda path, state: truncated(path, state, _use_new_zipfile_serialization=False),
        "truncated or damaged PyTorch checkpoint",
    ),
    "half.safetensors": (
        lambda path, state: (save_file(state, path), path.write_bytes(path.read_bytes()[:9000])),
        "truncated",
    ),
    "header.safetensors": (
        lambda path, state: path.write_bytes(struct.pack("<Q", 10**12) + b"{" + bytes(99)),
        "has a safetensors header of 1000000000000 bytes",
    ),
    "whole model.pth": (lambda path, state: saved(path, source()), "contains Python objects"),
    "code.pth": (lambda path, state: saved(path, {"conv1.weight": Path(path)}), "contains Python objects"),
    "pickle.pkl": (
        lambda path, state: path.write_bytes(pickle.dumps({"a": 1})),
        "is a pickle that torch.save did not write",
    ),
    "script.pt": (
        lambda path, state: torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(1)), path),
        "is a TorchScript program",
    ),
    "photos.zip": (
        lambda path, state: zipfile.ZipFile(path, "w").writestr("happy/1.jpg", b"x"),
        "zip archive without PyTorch weights",
    ),
    "compressed.pth": (
        lambda path, state: (saved(path, state), rezipped(path, zipfile.ZIP_DEFLATED)),
        "compressed archive",
    ),
    "large.pth": (lambda path, state: enlarged(path), "larger than its data"),
    "nan.pth": (
        lambda path, state: saved(path, with_value(state, torch.nan)),
        "NaN or infinite.*layer1.0.conv1",
    ),
    "inf.safetensors": (lambda path, state: save_file(with_value(state, torch.inf), path), "NaN or infinite"),
    "number.pth": (
        lambda path, state: saved(path, {"acc": 70, "epoch": 3}),
        "no state dict; it has 'acc', 'epoch'",
    ),
    "list.pth": (lambda path, state: saved(path, [1, 2]), "contains no state dict"),
    "tensor.pth": (lambda path, state: saved(path, torch.ones(3)), "contains one tensor"),
    "two.pth": (
        lambda path, state: saved(path, {"a": state, "b": with_value(state, 0)}),
        "contains 2 state dicts: a, b",
    ),
    "moco.pth": (
        lambda path, state: saved(
            path, prefixed("module.encoder_q.", state) | prefixed("module.encoder_k.", state)
        ),
        "several networks: module.encoder_k, module.encoder_q",
    ),
    "other.pth": (lambda path, state: saved(path, {"blocks.0.weight": torch.ones(3)}), "they share no name"),
    "part.pth": (
        lambda path, state: saved(path, {k: v for k, v in state.items() if "layer4.1" not in k}),
        r"missing: layer4.1.bn1.bias.* and \d+ more",
    ),
    "more.pth": (
        lambda path, state: saved(path, state | {"extra.weight": torch.ones(3)}),
        "left over: extra.weight",
    ),
    "wider.pth": (
        lambda path, state: saved(path, create_model("resnet18", width=0.25, in_chans=3).state_dict()),
        r"of another shape: bn1.bias is \(16,\), expected \(8,\)",
    ),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_with_what_they_are_and_change_nothing(name, tmp_path):
    make, message = REFUSED[name]
    make(tmp_path / name, source().state_dict())
    model = create_model("resnet18", width=0.125, in_chans=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message) as caught:
        fill_backbone(model, tmp_path / name)
    text = str(caught.value)
    assert name in text or "several networks" in text
    assert len(text) < 1000
    assert "weights_only" not in text
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("read", [load_weights, read_metadata])
@pytest.mark.parametrize("name", ["plain.pth", "legacy.PTH", "kuangliu.t7"])
def test_a_checkpoint_given_as_weights_of_this_library_says_how_to_use_it(name, read, tmp_path):
    READ[name](tmp_path / name, source().state_dict())
    with pytest.raises(
        WeightsError, match="is a PyTorch checkpoint.*lacks labels.*backbone_weights="
    ) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for number, options in enumerate(({}, {"_use_new_zipfile_serialization": False})):
        path = tmp_path / f"{number}.pth"
        torch.save({"state_dict": source().state_dict(), "hook": Trap()}, path, **options)
        with pytest.raises(ValueError, match=r"contains Python objects.*can run any code"):
            read_state_dict(path)
    assert not (tmp_path / "sprung").exists()


def test_a_projection_head_outside_the_network_is_named_and_dropped(tmp_path):
    state = source().state_dict()
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    saved(
        tmp_path / "mm.pth", {"state_dict": prefixed("backbone.", backbone) | {"head.weight": torch.ones(2)}}
    )
    model = create_model("resnet18", width=0.125, in_chans=3)
    with pytest.warns(UserWarning, match=r"below 'backbone\.' were used; left over: head\.weight"):
        assert fill_backbone(model, tmp_path / "mm.pth") == ["fc.bias", "fc.weight"]


def test_a_shared_mapping_is_searched_once(tmp_path):
    inner = {"x": 1}
    for _ in range(4):
        inner = {f"k{i}": inner for i in range(300)}
    saved(tmp_path / "wide.pth", inner)
    with pytest.raises(ValueError, match="contains no state dict"):
        read_state_dict(tmp_path / "wide.pth")


def test_a_near_name_is_suggested_for_a_missing_file(tmp_path):
    (tmp_path / "mine.pth.tar").touch()
    with pytest.raises(ValueError, match=r"mine\.pth\.tra is not a file\. Did you mean .*mine\.pth\.tar"):
        fill_backbone(source(), tmp_path / "mine.pth.tra")


def test_the_header_alone_decides_before_tensors_are_read(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}).encode()
    buffer = io.BytesIO(struct.pack("<Q", len(header)) + header)
    (tmp_path / "w.safetensors").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="truncated"):
        read_state_dict(tmp_path / "w.safetensors")
