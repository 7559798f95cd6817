"""The benchmark of face detection: paths, records and memory."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / "benchmarks" / "faces.py"


def run(record, *options):
    pytest.importorskip("skimage.data")
    tiny = ["--rounds", "3", "--device", "cpu", "--threads", "1", "--allow-busy", "--record", record]
    ran = subprocess.run(
        [sys.executable, SCRIPT, *tiny, *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == json.loads(record.read_text())
    return json.loads(ran.stdout), ran.stderr


def check_path(measured):
    low, high = measured["ms_p10_p90"]
    assert low <= measured["ms_per_image"] <= high
    assert measured["images_per_second"] == pytest.approx(1e3 / measured["ms_per_image"], rel=1e-2)


@pytest.mark.slow
def test_paths_are_timed_memory_is_measured_and_skips_are_reported(tmp_path):
    record, progress = run(
        tmp_path / "record.json",
        *("--detectors", "mtcnn", "yunet", "--sizes", "320x240", "--batch-sizes", "1", "4"),
    )
    assert "yunet is left out: pass its weights file by --yunet." in progress
    assert record["environment"]["threads"] == 1
    alone, four = record["results"]
    assert [alone["batch"], four["batch"]] == [1, 4]
    for result in (alone, four):
        assert (result["detector"], result["size"], result["device"]) == ("mtcnn", "320x240", "cpu")
        assert result["faces_per_photo"] >= 1
        assert result["rounds"] == 3
        low, high = result["overhead"]["interval"]
        assert -1 < low <= result["overhead"]["median"] <= high
        check_path(result["ours"])
    for path in ("ours", "direct"):
        assert 1 < alone[path]["peak_mib"] < four[path]["peak_mib"] < 4000
    assert "batch_speedup" not in alone
    check_path(four["ours_one_by_one"])
    assert four["batch_speedup"]["median"] > 0


@pytest.mark.data
@pytest.mark.slow
def test_detectors_are_compared_with_opencv_and_onnx_runtime(tmp_path, shared_dir):
    pytest.importorskip("cv2")
    pytest.importorskip("onnxruntime")
    models = shared_dir / "models"
    record, _ = run(
        tmp_path / "record.json",
        *("--yunet", models / "yunet_2026may.onnx", "--yolo", models / "yolov8_lite_t_face.onnx"),
        *("--detectors", "yunet", "yolo", "--sizes", "320x240", "--batch-sizes", "2", "--no-memory"),
        *("--inputs", "array", "pil", "--photos", shared_dir / "media" / "multiface.jpg"),
    )
    assert record["photos"] == ["multiface.jpg"]
    kinds = [(result["detector"], result["input"]) for result in record["results"]]
    assert kinds == [("yunet", "array"), ("yunet", "pil"), ("yolo", "array"), ("yolo", "pil")]
    for result in record["results"]:
        assert result["faces_per_photo"] >= 1
        check_path(result["direct"])
        assert "peak_mib" not in result["ours"]
