import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from fer_attention import build_model
from fer_attention.attention import ATTENTIONS
from fer_attention.export import ExportError, export_compiled, export_program, graph, program
from fer_attention.export.program import METADATA_FILE
from fer_attention.models import WeightsError
from tests.support.exported_models import lively_model, noise_crops, torch_logits


def run(path, crops):
    """What a program without this library's classes would do."""
    return torch.export.load(str(path)).module()(torch.from_numpy(crops)).numpy()


@pytest.mark.parametrize(
    ("backbone", "first", "start"),
    [
        ("vgg11", 0, "published"),
        ("vgg11", 0, "open"),
        pytest.param("resnet18", 1, "open", marks=pytest.mark.slow),
        pytest.param("resnetv2_18", 0, "published", marks=pytest.mark.slow),
    ],
)
def test_a_program_with_every_gate_gives_the_logits_of_the_model(backbone, first, start, tmp_path):
    options = {"implementation": "fused", "start": start}
    model = lively_model(backbone, attention="cbam", mixed=sorted(ATTENTIONS)[first::2], options=options)
    made = export_program(model, tmp_path / "model.pt2", faces=np.zeros((2, 60, 60, 3), np.uint8))
    assert made.checked == 7
    assert made.difference <= 1e-4
    crops = noise_crops(model, 7)
    for count in (1, 2, 7):
        assert_allclose(run(made.path, crops[:count]), torch_logits(model, crops[:count]), atol=1e-4)


def test_a_program_has_metadata_and_no_paths_of_this_machine(tmp_path):
    model = lively_model(attention="cbam")
    path = export_program(model, tmp_path / "model.pt2").path
    inside = {METADATA_FILE: ""}
    torch.export.load(str(path), extra_files=inside)
    facts = json.loads(inside[METADATA_FILE])
    assert facts["spec"] == model.spec.to_json()
    assert json.loads(facts["labels"]) == list(model.labels)
    assert facts["preprocessing"] == model.preprocessing.to_json()
    content = path.read_bytes()
    assert b"aten.conv2d" in content  # it is not compressed
    for trace in (b"site-packages", b"models/vgg.py", b'File \\"'):
        assert trace not in content


def test_a_program_that_fails_the_check_is_not_left_behind(tmp_path, monkeypatch):
    wrong = lively_model(seed=7)
    exported = graph.exported
    monkeypatch.setattr(
        graph, "exported", lambda network, facts: exported(graph.PixelClassifier(wrong, facts), facts)
    )
    model = lively_model()
    path = tmp_path / "model.pt2"
    path.write_text("what was here before")
    with pytest.raises(ExportError, match=r"The program differs .* allowed are 0.0001"):
        export_program(model, path)
    assert path.read_text() == "what was here before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("export", [export_program, export_compiled])
def test_invalid_arguments_are_refused_before_the_export(export, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "c++")  # nothing is compiled: a machine without a compiler passes too
    model = build_model("vgg11", width=0.125)
    with pytest.raises(ValueError, match=r"must end in \.pt2"):
        export(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="tolerance"):
        export(model, tmp_path / "model.pt2", tolerance=0)
    model.labels = None
    with pytest.raises(WeightsError, match="labels"):
        export(model, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_the_other_formats_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(program.shutil, "which", lambda name: None)
    with pytest.raises(ExportError, match=r"C\+\+ compiler.*export_onnx"):
        export_compiled(build_model("vgg11", width=0.125), tmp_path / "model.pt2")


@pytest.mark.slow
def test_machine_code_gives_the_logits_of_the_model(tmp_path):
    if not any(map(program.shutil.which, program.COMPILERS)):
        pytest.skip("needs a C++ compiler")
    model = lively_model("resnetv2_18", attention="cbam")
    made = export_compiled(model, tmp_path / "model.pt2")
    package = torch._inductor.aoti_load_package(str(made.path))
    assert json.loads(package.get_metadata()["labels"]) == list(model.labels)
    crops = noise_crops(model, 7)
    for count in (1, 2, 7):
        got = package(torch.from_numpy(crops[:count])).numpy()
        assert_allclose(got, torch_logits(model, crops[:count]), atol=1e-4)
