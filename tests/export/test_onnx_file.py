import copy
import json
import logging
import random
import sys
import warnings
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

import fer_attention
from fer_attention import build_model, create_model
from fer_attention.activations import swap_activation
from fer_attention.attention import ATTENTIONS
from fer_attention.calibration import Calibration
from fer_attention.classifiers import OnnxClassifier
from fer_attention.export import ExportError, export_onnx, onnx_file
from fer_attention.export.graph import largest_difference
from fer_attention.models import WeightsError
from tests.support.exported_models import FAMILIES, lively_model, noise_crops, torch_logits

KINDS = sorted(ATTENTIONS)


@pytest.fixture(scope="module")
def model():
    return lively_model(attention="cbam")


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model, path)
    return path


def same_for_any_batch(model, path):
    crops = noise_crops(model, 7)
    exported = OnnxClassifier(path, threads=1)
    for count in (1, 2, 7):
        assert_allclose(exported.logits(crops[:count]), torch_logits(model, crops[:count]), atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "first", "start"),
    [
        ("resnet18", 0, "published"),
        ("resnet18", 1, "open"),
        ("resnetv2_18", 0, "open"),
        ("resnetv2_18", 1, "published"),
    ],
)
@pytest.mark.slow
def test_any_gate_in_any_residual_block_is_exported_fused_or_not(backbone, first, start, tmp_path):
    gates = KINDS[first::2]
    assert len(gates) <= 8  # as many blocks as there are
    options = {"implementation": "fused", "start": start}
    model = lively_model(backbone, attention="cbam", mixed=gates, options=options)
    same_for_any_batch(model, export_onnx(model, tmp_path / "model.onnx").path)
    gateless = lively_model(backbone)
    gateless.load_state_dict(model.state_dict(), strict=False)
    crops = noise_crops(model, 7)
    assert np.abs(torch_logits(gateless, crops) - torch_logits(model, crops)).max() > 1e-2  # they count


def elus(model):
    return sum(isinstance(module, nn.ELU) for module in model.modules())


def operators(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_elu_becomes_operators_that_the_runtime_has_fast_kernels_for(model, file):
    assert elus(model) > 0
    assert (operators(file)["Elu"], operators(file)["Exp"]) == (0, elus(model))


def test_elu_of_another_alpha_stays_an_operator(tmp_path):
    model = lively_model()
    swap_activation(model, lambda: nn.ELU(0.5), source="elu")
    path = export_onnx(model, tmp_path / "model.onnx").path
    same_for_any_batch(model, path)
    assert (operators(path)["Elu"], operators(path)["Exp"]) == (elus(model), 0)


def test_a_vgg_gives_the_logits_of_torch(model, file):
    same_for_any_batch(model, file)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", FAMILIES)
def test_plain_families_give_the_logits_of_torch(backbone, tmp_path):
    model = lively_model(backbone)
    same_for_any_batch(model, export_onnx(model, tmp_path / "model.onnx").path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16_bn_cbam_elu", "resnet50_cbam", "resnetv2_50_eca_elu"])
def test_models_of_real_size_are_exported(name, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, in_chans=3, img_size=64).eval()
    same_for_any_batch(model, export_onnx(model, tmp_path / "model.onnx").path)


def test_the_file_has_the_metadata_of_a_weights_file(model, file):
    written = onnx.load(file)
    facts = {entry.key: entry.value for entry in written.metadata_props}
    assert facts["spec"] == model.spec.to_json()
    assert json.loads(facts["labels"]) == list(model.labels)
    assert facts["preprocessing"] == model.preprocessing.to_json()
    assert json.loads(facts["record"])["fer_attention"] == fer_attention.__version__
    [crops] = written.graph.input
    dimensions = crops.type.tensor_type.shape.dim
    assert (crops.name, crops.type.tensor_type.elem_type) == ("crops", onnx.TensorProto.UINT8)
    assert [one.dim_param or one.dim_value for one in dimensions] == ["batch", 1, 48, 48]


def test_the_file_carries_the_calibration(model, file, tmp_path):
    before, model = OnnxClassifier(file, threads=1), copy.deepcopy(model)
    model.record = {**model.record, **Calibration(temperature=2.0, threshold=0.4).to_record()}
    after = OnnxClassifier(export_onnx(model, tmp_path / "fitted.onnx").path, threads=1)
    crops = noise_crops(model, 3)
    assert after.calibration == Calibration(temperature=2.0, threshold=0.4)
    np.testing.assert_array_equal(before.logits(crops), after.logits(crops))
    expected = np.log(before.probabilities(crops)) / 2
    expected -= np.log(np.exp(expected).sum(1, keepdims=True))
    np.testing.assert_allclose(np.log(after.probabilities(crops)), expected, rtol=1e-5)


def test_the_file_contains_no_paths_of_this_machine(file):
    content = file.read_bytes()
    for trace in (b"site-packages", b"fer_attention/models", b'File "'):
        assert trace not in content


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(model, file, tmp_path):
    assert export_onnx(model, tmp_path / "again.onnx").path.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("damage", ["other weights", "no numbers"])
def test_a_file_that_fails_the_check_is_not_left_behind(damage, file, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_graph", lambda *_: onnx.load(file))
    model = lively_model(attention="cbam", seed=7)
    if damage == "no numbers":
        model.get_classifier().bias.data[0] = float("nan")
    path = tmp_path / "model.onnx"
    path.write_text("what was here before")
    with pytest.raises(ExportError, match=r"logits by ([\d.]+|inf), allowed are 0.0001"):
        export_onnx(model, path)
    assert path.read_text() == "what was here before"
    assert list(tmp_path.iterdir()) == [path]


def test_differences_are_relative_and_taken_over_both_batch_sizes():
    crops = np.arange(5, dtype=np.uint8)
    small = largest_difference(lambda x: x * 0.0, lambda x: x * 0.1, crops)
    assert small == pytest.approx(0.4)
    large = largest_difference(lambda x: x * 0.0 + 100, lambda x: x * 0.0 + 101, crops)
    assert large == pytest.approx(0.01)
    only_in_threes = largest_difference(lambda x: x * 0.0, lambda x: x * 0.0 + (len(x) == 3), crops)
    only_alone = largest_difference(lambda x: x * 0.0, lambda x: x * 0.0 + (len(x) == 1), crops)
    assert only_in_threes == only_alone == 1
    assert largest_difference(lambda x: x * 0.0, lambda x: x * np.nan, crops) == np.inf


def test_the_model_and_the_process_stay_as_they_were(tmp_path):
    model = build_model("vgg11", attention="se", width=0.125, img_size=32, attention_options={"reduction": 4})
    model.features.eval()
    model.half()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def state():
        loggers = logging.root.level, list(logging.root.handlers), logging.getLogger("torch").level
        modes = [module.training for module in model.modules()]
        return (
            torch.get_rng_state().tolist(), random.getstate(), list(warnings.filters), loggers, modes,
            np.random.get_state()[1].tolist(), torch.is_grad_enabled(), sys.getrecursionlimit(),
            getattr(torch.fx.config, "do_not_emit_stack_traces", None),
        )  # fmt: skip

    known = state()
    made = export_onnx(model, tmp_path / "model.onnx", opset=20)  # a later one than usual
    assert onnx.load(made.path).opset_import[0].version == made.opset == 20
    assert state() == known
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_models_that_cannot_be_exported_say_why(tmp_path):
    unnamed = build_model("vgg11", width=0.125, num_classes=5)
    odd = build_model("vgg11", width=0.125, in_chans=4)
    for model, why in (
        (unnamed, "labels"),
        (odd, "preprocessing"),
        (build_model("vgg11", width=0.125, device="meta"), "meta"),
    ):
        with pytest.raises(WeightsError, match=why):
            export_onnx(model, tmp_path / "model.onnx")
    fine = build_model("vgg11", width=0.125)
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        export_onnx(fine, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="opset is from 18"):
        export_onnx(fine, tmp_path / "old.onnx", opset=17)
    for tolerance in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="tolerance"):
            export_onnx(fine, tmp_path / "model.onnx", tolerance=tolerance)
    with pytest.raises(ValueError, match="uint8"):
        export_onnx(fine, tmp_path / "model.onnx", faces=np.zeros((2, 48, 48)))
    with pytest.raises(FileNotFoundError, match="absent"):
        export_onnx(fine, tmp_path / "absent" / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_names_the_extra(library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"fer_attention\[export\]"):
        export_onnx(build_model("vgg11", width=0.125), tmp_path / "model.onnx")
