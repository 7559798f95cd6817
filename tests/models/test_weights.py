"""Weights files: what goes in comes out, and a save that fails or is killed leaves the file as it was."""

import errno
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

import fer_attention.atomic
from fer_attention.activations import swap_activation
from fer_attention.emotions import CKPLUS, FERPLUS
from fer_attention.models import (
    WeightsError,
    bundled_path,
    create_model,
    list_models,
    load_weights,
    read_metadata,
    save_weights,
)
from fer_attention.models.weights import update_record
from fer_attention.preprocessing import Preprocessing
from tests.support.forked import run_python

RECORD = {"data": "FER2013", "seed": 7, "accuracy": [0.5, {"lower": 0.4}], "note": "grüße ☺"}

VARIANTS = {
    "resnet18_cbam_elu": {"stem": "half", "attention_options": {"reduction": 4, "kernel_size": 3}},
    "resnet50_se": {"stride_on": "1x1", "in_chans": 3, "drop_rate": 0.1, "drop_path_rate": 0.2},
    "resnetv2_18_eca_prelu": {
        "stem": "full",
        "attention_options": {"kernel_size": None},
        "global_pool": "max",
    },
    "resnetv2_50": {"img_size": (64, 40)},
    "vgg11_bn_cbam": {"head": "gap"},
    "vgg11_eca_elu": {"num_classes": 8},
}


def faces(model, n=2):
    return torch.randn(n, *model.spec.input_size, generator=torch.Generator().manual_seed(1))


def tiny(name="resnet18_eca_elu", seed=0, **structure):
    torch.manual_seed(seed)
    model = create_model(name, **{"width": 0.125, **structure})
    model(faces(model, 4))  # running statistics away from their start
    return model.eval()


class TestRoundTrip:
    @pytest.mark.parametrize("name", VARIANTS)
    def test_everything_comes_back(self, name, tmp_path):
        model = tiny(name, **{"width": 0.25, **VARIANTS[name]})
        model.labels = FERPLUS if model.num_classes == 8 else CKPLUS
        path = save_weights(model, tmp_path / "w.safetensors", record=RECORD)
        again = load_weights(path)
        assert again.spec == model.spec
        assert again.labels == model.labels
        assert again.preprocessing == model.preprocessing
        assert read_metadata(path).record == RECORD
        assert read_metadata(path).spec == model.spec
        assert not any(module.training for module in again.modules())
        torch.testing.assert_close(again(faces(model)), model(faces(model)), rtol=0, atol=0)
        state = model.state_dict()
        assert again.state_dict().keys() == state.keys()
        assert all(torch.equal(tensor, state[key]) for key, tensor in again.state_dict().items())

    def test_half_precision_is_close_and_half_as_large(self, tmp_path):
        model = tiny(width=0.5)
        full = save_weights(model, tmp_path / "full.safetensors")
        half = save_weights(model, tmp_path / "half.safetensors", dtype=torch.float16)
        assert half.stat().st_size < 0.52 * full.stat().st_size
        again = load_weights(half)
        assert {p.dtype for p in again.parameters()} == {torch.float32}
        torch.testing.assert_close(again(faces(model)), model(faces(model)), rtol=1e-2, atol=5e-3)
        assert torch.equal(again.bn1.running_var, model.bn1.running_var)  # norms stay exact

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
    def test_a_model_of_another_type_comes_back_as_float32(self, dtype, tmp_path):
        model = tiny().to(dtype)
        again = load_weights(save_weights(model, tmp_path / "w.safetensors"))
        assert {t.dtype for t in again.state_dict().values() if t.is_floating_point()} == {torch.float32}
        torch.testing.assert_close(again.fc.weight, model.fc.weight.float(), rtol=0, atol=0)

    def test_saving_leaves_the_model_alone(self, tmp_path):
        model = tiny().double().train()
        model.layer2.eval()
        model.conv1.weight.requires_grad_(False)
        model = model.to(memory_format=torch.channels_last)

        def facts():
            modes = [module.training for module in model.modules()]
            tensors = [(t.dtype, t.device, t.stride(), t.data_ptr()) for t in model.state_dict().values()]
            return modes, tensors, [p.requires_grad for p in model.parameters()], model.spec, model.labels

        before, values = facts(), [t.clone() for t in model.state_dict().values()]
        save_weights(model, tmp_path / "w.safetensors", dtype=torch.float16)
        assert facts() == before
        assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), values, strict=True))

    def test_a_loaded_model_trains(self, tmp_path):
        model = load_weights(save_weights(tiny(), tmp_path / "w.safetensors")).train()
        model(faces(model)).sum().backward()
        assert all(p.requires_grad and p.grad is not None for p in model.parameters())

    def test_a_loaded_model_does_not_hang_on_the_file(self, tmp_path):
        path = save_weights(tiny(), tmp_path / "w.safetensors")
        model = load_weights(path)
        with path.open("r+b") as file:  # in place, as `cp` would
            file.write(b"\xff" * path.stat().st_size)
        expected = tiny()
        torch.testing.assert_close(model(faces(model)), expected(faces(expected)), rtol=0, atol=0)

    def test_a_swapped_activation_is_saved_with_its_spec(self, tmp_path):
        model = tiny("resnet18_se", attention_options={"reduction": 4})
        swap_activation(model, "selu")
        again = load_weights(save_weights(model, tmp_path / "w.safetensors"))
        assert again.spec.name == "resnet18_se_selu"
        torch.testing.assert_close(again(faces(model)), model(faces(model)), rtol=0, atol=0)

    @pytest.mark.parametrize("name", ["resnet18_eca", "resnetv2_18_eca", "vgg11_eca"])
    def test_a_model_with_a_new_classifier_is_saved_with_its_labels(self, name, tmp_path):
        model = tiny(name)
        model.reset_classifier(3)
        with pytest.raises(WeightsError, match=r"set model\.labels to the names of 3 classes"):
            save_weights(model, tmp_path / "w.safetensors")
        model.labels = ("calm", "tense", "other")
        again = load_weights(save_weights(model, tmp_path / "w.safetensors"))
        assert again.labels == model.labels
        torch.testing.assert_close(again(faces(model)), model(faces(model)), rtol=0, atol=0)

    def test_the_file_has_the_permissions_of_any_new_file(self, tmp_path):
        (tmp_path / "other").touch()
        path = save_weights(tiny(), tmp_path / "w.safetensors")
        assert path.stat().st_mode == (tmp_path / "other").stat().st_mode

    def test_paths_may_be_strings(self, tmp_path):
        path = save_weights(tiny(), str(tmp_path / "w.safetensors"))
        assert path == tmp_path / "w.safetensors"
        assert load_weights(str(path)).spec == read_metadata(str(path)).spec

    @pytest.mark.parametrize("name", list_models(pretrained=True))
    def test_bundled_weights_load_by_name(self, name):
        model = create_model(name, pretrained=True)
        by_file = load_weights(bundled_path(name))
        assert model.spec == by_file.spec
        assert model.spec.name == name.split(".")[0]
        assert model.labels == by_file.labels
        torch.testing.assert_close(model.eval()(faces(model)), by_file(faces(model)), rtol=0, atol=0)
        assert create_model(name, pretrained=True, num_classes=3).get_classifier().weight.shape[0] == 3
        with pytest.raises(TypeError, match="fix width"):
            create_model(name, pretrained=True, width=0.5)


class TestRefusedModels:
    @pytest.mark.parametrize(
        ("change", "texts"),
        [
            (lambda m: setattr(m, "act1", nn.ReLU()), ["(act1): ELU"]),
            (lambda m: setattr(m.layer1[0], "attn", None), ["attn"]),
            (lambda m: m.add_module("extra", nn.Linear(2, 2)), ["(extra): Linear"]),
            (lambda m: m.layer1.append(nn.Identity()), ["Identity"]),
            (
                lambda m: setattr(m, "conv1", nn.Conv2d(1, 8, 5, padding=2, bias=False)),
                ["kernel_size=(7, 7)"],
            ),
            (lambda m: m.prune_intermediate_layers([2]), []),
            (
                lambda m: swap_activation(m, lambda: nn.ELU(alpha=0.5), source=nn.ELU),
                ["alpha=0.5", "alpha=1.0"],
            ),
        ],
        ids=[
            "activation",
            "gate gone",
            "module added",
            "block added",
            "convolution",
            "pruned",
            "elu's alpha",
        ],
    )
    def test_a_structure_unlike_its_spec_is_refused_with_the_difference(self, change, texts, tmp_path):
        model = tiny()
        change(model)
        if model.labels is None:
            model.labels = ()
        with pytest.raises(
            WeightsError, match="no longer has the structure of its spec resnet18_eca_elu"
        ) as caught:
            save_weights(model, tmp_path / "w.safetensors")
        assert not texts or any(text in str(caught.value) for text in texts)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("labels", "message"), [(None, "the names of 7 classes"), (("a", "b"), "7 outputs, but 2 labels")]
    )
    def test_labels_must_match_the_outputs(self, labels, message, tmp_path):
        model = tiny()
        model.labels = labels
        with pytest.raises(WeightsError, match=message):
            save_weights(model, tmp_path / "w.safetensors")

    def test_a_preprocessing_is_needed(self, tmp_path):
        model = tiny(in_chans=2)
        with pytest.raises(
            WeightsError, match=r"lacks preprocessing: set model\.preprocessing, of 2 channels"
        ):
            save_weights(model, tmp_path / "w.safetensors")

    def test_a_record_that_is_not_json_is_refused_before_writing(self, tmp_path):
        with pytest.raises(TypeError, match="JSON"):
            save_weights(tiny(), tmp_path / "w.safetensors", record={"tensor": torch.ones(1)})
        assert list(tmp_path.iterdir()) == []


class TestFailingWrites:
    @pytest.fixture
    def saved(self, tmp_path):
        """A whole file, and its bytes."""
        path = save_weights(tiny(seed=1), tmp_path / "w.safetensors", record={"version": 1})
        return path, path.read_bytes()

    def check_untouched(self, saved):
        path, before = saved
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]  # no temporary file is left
        assert read_metadata(path).record == {"version": 1}

    @pytest.mark.parametrize("call", ["replace", "fsync"])
    def test_a_failure_at_any_step_leaves_the_previous_file_and_nothing_else(self, call, saved, monkeypatch):
        def fail(*args):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(fer_attention.atomic.os, call, fail)
        with pytest.raises(OSError, match="Input/output error"):
            save_weights(tiny(seed=2), saved[0])
        monkeypatch.undo()
        self.check_untouched(saved)

    def test_a_full_disk_leaves_the_previous_file_and_nothing_else(self, saved, monkeypatch):
        real = Path.write_bytes

        def full(path, content):
            real(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            save_weights(tiny(seed=2), saved[0])
        monkeypatch.undo()
        self.check_untouched(saved)

    def test_a_limit_of_the_system_leaves_the_previous_file_and_nothing_else(self, saved):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(saved[1]) // 2, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                save_weights(tiny(seed=2), saved[0])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.check_untouched(saved)

    def test_an_interrupt_leaves_the_previous_file_and_nothing_else(self, saved, monkeypatch):
        def interrupt(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr(fer_attention.atomic.os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_weights(tiny(seed=2), saved[0])
        monkeypatch.undo()
        self.check_untouched(saved)

    def test_a_missing_folder_is_an_error_and_is_not_created(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="absent"):
            save_weights(tiny(), tmp_path / "absent" / "w.safetensors")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_at_the_path_of_the_file_is_an_error(self, tmp_path):
        (tmp_path / "w.safetensors").mkdir()
        with pytest.raises(OSError, match=r"w\.safetensors"):
            save_weights(tiny(), tmp_path / "w.safetensors")
        assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
import torch
from fer_attention.models import build_model, load_weights, read_metadata, save_weights

path = sys.argv[1]
model = build_model("resnet18", width=0.25)


def save(version):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(version)
    save_weights(model, path, record={"version": version})


def stop_at(step, tell):
    def stop(*_):
        os.write(tell, b".")
        signal.pause()

    def write_half(temporary, content):
        with temporary.open("wb") as file:
            file.write(content[: len(content) // 2])
        stop()

    if step == "write":
        Path.write_bytes = write_half
    elif step in ("fsync", "replace"):
        setattr(os, step, stop)
    save(1)
    stop()


save(0)
for step, expected in (("write", 0), ("fsync", 0), ("replace", 0), ("end", 1)):
    reached, tell = os.pipe()
    child = os.fork()
    if child == 0:
        stop_at(step, tell)
    os.close(tell)
    assert os.read(reached, 1) == b".", step
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert read_metadata(path).record["version"] == expected, step
    assert all((parameter == expected).all() for parameter in load_weights(path).parameters()), step
"""


def test_a_process_killed_at_any_step_of_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "w.safetensors"
    code, _, errors = run_python("-c", KILLED_WHILE_SAVING, path)
    assert code == 0, errors
    others = [entry.name for entry in tmp_path.iterdir() if entry != path]
    assert len(others) == 3
    assert all(name.startswith(".w.safetensors.") for name in others)  # hidden, never taken for the file


def test_a_preprocessing_of_other_channels_is_refused(tmp_path):
    model = create_model("resnet18", width=0.25, in_chans=3)
    model.preprocessing = Preprocessing()
    with pytest.raises(WeightsError, match="takes 3 channels"):
        save_weights(model, tmp_path / "x.safetensors")


def test_a_model_on_the_meta_device_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="meta device"):
        save_weights(create_model("resnet18", device="meta"), tmp_path / "x.safetensors")


def test_an_entry_of_the_record_may_be_that_of_bundled_weights(tmp_path):
    bundled = read_metadata(bundled_path("resnetv2_18_eca_elu.fer2013")).record
    record = {"seen_images": {"as_in": "resnetv2_18_eca_elu.fer2013"}, "seed": 1}
    path = save_weights(create_model("resnet18", width=0.125), tmp_path / "w.safetensors", record=record)
    for found in (read_metadata(path).record, load_weights(path).record):
        assert found == {"seen_images": bundled["seen_images"], "seed": 1}
    update_record(path, {"seed": 2})  # the reference stays
    assert b"as_in" in path.read_bytes()
    assert read_metadata(path).record["seed"] == 2


def test_a_reference_to_weights_that_are_not_bundled_is_an_error(tmp_path):
    record = {"seen_images": {"as_in": "resnetv2_18_eca_elu.nowhere"}}
    path = save_weights(create_model("resnet18", width=0.125), tmp_path / "w.safetensors", record=record)
    with pytest.raises(WeightsError, match="takes seen_images from the bundled weights 'resnetv2_18_eca_elu"):
        read_metadata(path)
