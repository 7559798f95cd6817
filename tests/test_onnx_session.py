"""ONNX Runtime sessions: the device they run on, and the errors of files and devices."""

import sys

import pytest
import torch

from fer_attention import onnx_session
from fer_attention.onnx_session import OnnxSession, choose_providers
from tests.support.yolo_graphs import red_finder

pytest.importorskip("onnxruntime")

BOTH = ["CUDAExecutionProvider", "CPUExecutionProvider"]
CPU_ONLY = ["AzureExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return red_finder(tmp_path_factory.mktemp("onnx") / "model.onnx")


def see_gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_the_gpu_is_chosen_if_both_torch_and_onnx_runtime_can_use_it(monkeypatch):
    cpu = (torch.device("cpu"), ["CPUExecutionProvider"])
    see_gpus(monkeypatch, 0)
    assert choose_providers("auto", BOTH) == cpu
    see_gpus(monkeypatch, 2)
    assert choose_providers("auto", CPU_ONLY) == cpu
    assert choose_providers("cpu", BOTH) == cpu
    for name, index in (("auto", 0), ("cuda", 0), ("cuda:1", 1), (torch.device("cuda:1"), 1)):
        resolved, providers = choose_providers(name, BOTH)
        assert resolved.type == "cuda"
        assert providers == [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ValueError, match="onnxruntime-gpu.*AzureExecutionProvider"):
            choose_providers(name, CPU_ONLY)
    monkeypatch.setattr(onnx_session, "resolve_device", torch.device)
    with pytest.raises(ValueError, match="run on cpu or cuda; got device 'mps'"):
        choose_providers("mps", BOTH)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_a_gpu_that_cannot_start_is_an_error_unless_the_device_is_auto(path, monkeypatch):
    see_gpus(monkeypatch, 1)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: BOTH)
    assert OnnxSession(path, "auto", threads=1, extra="export").device == torch.device("cpu")
    with pytest.raises(ValueError, match="cannot start its CUDAExecutionProvider.*onnxruntime-gpu"):
        OnnxSession(path, "cuda", threads=1, extra="export")


def test_missing_and_unreadable_files_are_named_and_nothing_is_printed(tmp_path, capfd):
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx is not a file"):
        OnnxSession(tmp_path / "gone.onnx", "cpu", threads=0, extra="export")
    (tmp_path / "best.pt").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"best\.pt.*must be exported to ONNX"):
        OnnxSession(tmp_path / "best.pt", "cpu", threads=0, extra="export")
    assert capfd.readouterr() == ("", "")


def test_without_onnx_runtime_the_error_names_the_extra(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'fer_attention\[export\]'"):
        OnnxSession(path, "cpu", threads=0, extra="export")
