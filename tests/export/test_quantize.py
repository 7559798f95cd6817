import logging

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose

from fer_attention.classifiers import OnnxClassifier
from fer_attention.data import DataError, FaceDataset
from fer_attention.evaluation import accuracy
from fer_attention.export import ExportError, export_onnx, quantize_onnx
from fer_attention.models import WeightsError
from tests.support.exported_models import lively_model


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    model = lively_model(attention="cbam", img_size=32)
    return export_onnx(model, tmp_path_factory.mktemp("onnx") / "model.onnx").path


@pytest.fixture(scope="module")
def faces(file):
    """Smooth pictures whose labels are the float model's answers, but for the first ten."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (80, 4, 4), dtype=np.uint8)
    images = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    model = OnnxClassifier(file, threads=1)
    labels = model.logits(images[:, None]).argmax(1)
    labels[:10] = (labels[:10] + 1) % 7
    return FaceDataset(
        images, labels, np.array([f"{i}" for i in range(80)]), np.full(80, "all"), model.labels
    )


@pytest.fixture(scope="module")
def made(file, faces, tmp_path_factory):
    output = tmp_path_factory.mktemp("int8") / "int8.onnx"
    known = logging.root.level, list(logging.root.handlers)
    quantization = quantize_onnx(file, output, calibration=faces, test=faces, samples=40)
    assert (logging.root.level, list(logging.root.handlers)) == known
    return quantization


def test_the_int8_file_is_smaller_and_its_answers_are_close(file, faces, made):
    before, after = OnnxClassifier(file, threads=1), OnnxClassifier(made.path, threads=1)
    crops = faces.images[:, None]
    first, second = before.logits(crops), after.logits(crops)
    assert 0 < np.abs(first - second).max() < 0.3 * np.abs(first).max()
    assert made.bytes_after == made.path.stat().st_size < 0.6 * made.bytes_before
    assert made.calibrated_on == 40
    assert made.ms_before > 0 < made.ms_after
    assert made.different == (first.argmax(1) != second.argmax(1)).sum()
    assert made.before == accuracy(first.argmax(1), faces.labels)
    assert made.after == accuracy(second.argmax(1), faces.labels)
    assert made.before.correct == 70
    assert "n = 80" in str(made)
    assert f"{made.bytes_before:,} -> {made.bytes_after:,} bytes" in str(made)


def test_weights_are_int8_with_a_scale_per_channel_and_activations_uint8(made):
    graph = onnx.load(made.path).graph
    initial = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    source = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 8
    for node in convolutions:
        crops, weights = (source[name] for name in node.input[:2])
        assert crops.op_type == weights.op_type == "DequantizeLinear"
        numbers, scales = initial[weights.input[0]], initial[weights.input[1]]
        assert numbers.dtype == np.int8
        assert scales.shape == numbers.shape[:1]
        assert np.abs(numbers).max() <= 64  # seven bits
        assert initial[crops.input[2]].dtype == np.uint8
    others = {node.op_type for node in graph.node} - {"Conv", "QuantizeLinear", "DequantizeLinear"}
    assert {"Exp", "Sigmoid"} <= others


def test_the_int8_file_keeps_the_metadata_and_records_how_it_was_made(file, made):
    before, after = OnnxClassifier(file).metadata, OnnxClassifier(made.path).metadata
    assert (after.spec, after.labels, after.preprocessing) == (
        before.spec,
        before.labels,
        before.preprocessing,
    )
    assert "40 faces" in after.record["quantization"]
    with pytest.raises(ExportError, match="already quantised"):
        quantize_onnx(
            made.path, made.path.with_name("twice.onnx"), calibration=np.zeros((1, 32, 32), np.uint8)
        )


def test_the_same_faces_and_seed_give_the_same_logits(file, faces, made, tmp_path):
    again = quantize_onnx(file, tmp_path / "again.onnx", calibration=faces.images, samples=40)
    assert again.before is again.after is again.different is None
    assert "accuracy" not in str(again)
    crops = faces.images[:, None]
    assert_allclose(
        OnnxClassifier(again.path).logits(crops), OnnxClassifier(made.path).logits(crops), atol=1e-6
    )


def test_invalid_arguments_are_refused_and_leave_no_file(file, faces, tmp_path):
    output = tmp_path / "int8.onnx"
    with pytest.raises(ValueError, match="calibration has no face"):
        quantize_onnx(file, output, calibration=faces.images[:0])
    with pytest.raises(ValueError, match="samples"):
        quantize_onnx(file, output, calibration=faces, samples=0)
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        quantize_onnx(file, tmp_path / "int8.bin", calibration=faces)
    with pytest.raises(WeightsError, match="is not a file"):
        quantize_onnx(tmp_path / "absent.onnx", output, calibration=faces)
    with pytest.raises(ValueError, match="uint8"):
        quantize_onnx(file, output, calibration=np.zeros((3, 32, 32)))
    foreign = FaceDataset(
        faces.images[:1], faces.labels[:1] * 0, faces.names[:1], faces.splits[:1], ("contempt",)
    )
    with pytest.raises(DataError, match="contempt"):
        quantize_onnx(file, output, calibration=faces, test=foreign, samples=4)
    assert not list(tmp_path.iterdir())
