"""Small ONNX graphs instead of YOLO face models: with constant faces, or a detector of red areas."""

import math

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

HEIGHT, WIDTH = 64, 96
CELLS = [(8, 8, 12), (16, 4, 6), (32, 2, 3)]
POINTS = [(-5, -6), (5, -6), (0, 0), (-4, 6), (4, 7)]
# Two faces near the centre of the input, which every photo covers: centre, size, score.
PLANTED = [((47.5, 31.25), (20, 26), 0.9), ((50, 34), (50, 60), 0.7)]


def save(path, nodes, *, batch="batch", sides=(HEIGHT, WIDTH), kind=onnx.TensorProto.FLOAT, outputs=1):
    """Save an ONNX file of these nodes, from `images` to `out0`, `out1`, …"""
    shape = [batch, 3, *sides]
    graph = onnx.helper.make_graph(
        nodes,
        "planted",
        [onnx.helper.make_tensor_value_info("images", kind, shape)],
        [onnx.helper.make_tensor_value_info(f"out{k}", kind, None) for k in range(outputs)],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def constant(name, value):
    tensor = onnx.numpy_helper.from_array(np.asarray(value), name)
    return onnx.helper.make_node("Constant", [], [name], value=tensor)


def constant_model(path, arrays, *, dtype=np.float32, frozen=False, **options):
    """Save a model that returns `arrays` for every image.

    A frozen one declares any batch size but fails on more than one image.
    """
    make = onnx.helper.make_node
    nodes = [constant("nothing", np.zeros(1, dtype))]
    every = list(range(1, 2 + len(options.get("sides", "hw"))))
    for k, array in enumerate(arrays):
        axes = list(range(array.ndim + 1))[1:]
        nodes += [
            constant(f"answer{k}", array[None].astype(dtype)),
            make("ReduceMax", ["images"], [f"any{k}"], axes=every, keepdims=0),
            constant(f"shape{k}", np.array([1 if frozen else -1])),
            make("Reshape", [f"any{k}", f"shape{k}"], [f"most{k}"]),
            constant(f"axes{k}", np.array(axes)),
            make("Unsqueeze", [f"most{k}", f"axes{k}"], [f"column{k}"]),
            make("Mul", [f"column{k}", "nothing"], [f"zero{k}"]),
            make("Add", [f"zero{k}", f"answer{k}"], [f"out{k}"]),
        ]
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return save(path, nodes, kind=kind, outputs=len(arrays), **options)


def red_finder(path, **options):
    """Save a model whose only face is the bounding box of the pixels with red above one half."""
    make = onnx.helper.make_node
    nodes = [
        constant("zero", np.array(0)),
        constant("half", np.float32(0.5)),
        constant("last", np.array([1])),
        constant("shape", np.array([1, 5, 5])),
        make("Gather", ["images", "zero"], ["red"], axis=1),
        make("Greater", ["red", "half"], ["is_red"]),
        make("Cast", ["is_red"], ["mask"], to=onnx.TensorProto.FLOAT),
        make("ReduceMax", ["mask"], ["score"], axes=[1, 2], keepdims=0),
        make("Unsqueeze", ["score", "last"], ["score1"]),
    ]
    for name, axis in (("x", 1), ("y", 2)):
        nodes += [
            make("ReduceMax", ["mask"], [f"{name}s"], axes=[axis], keepdims=0),
            make("ArgMax", [f"{name}s"], [f"{name}1i"], axis=1),
            make("ArgMax", [f"{name}s"], [f"{name}2i"], axis=1, select_last_index=1),
            make("Cast", [f"{name}1i"], [f"{name}1"], to=onnx.TensorProto.FLOAT),
            make("Add", [f"{name}2i", "last"], [f"{name}2j"]),
            make("Cast", [f"{name}2j"], [f"{name}2"], to=onnx.TensorProto.FLOAT),
            make("Add", [f"{name}1", f"{name}2"], [f"{name}sum"]),
            make("Mul", [f"{name}sum", "half"], [f"{name}mid"]),
            make("Sub", [f"{name}2", f"{name}1"], [f"{name}len"]),
        ]
    five = ["xmid", "ymid", "xlen", "ylen", "score1"]
    nodes += [
        make("Concat", five, ["column"], axis=1),
        constant("two", np.array([2])),
        make("Unsqueeze", ["column", "two"], ["columns"]),
        make("Expand", ["columns", "shape"], ["out0"]),
    ]
    return save(path, nodes, **options)


def landmarks_of(centre):
    return [(centre[0] + x, centre[1] + y) for x, y in POINTS]


def as_rows():
    rows = np.zeros((378, 16), np.float32)
    for position, (centre, size, score) in zip((5, 300), PLANTED, strict=True):
        rows[position] = [*centre, *size, math.sqrt(score), *np.ravel(landmarks_of(centre)), math.sqrt(score)]
    return [rows]


def as_columns(numbers):
    columns = np.zeros((numbers, 126), np.float32)
    for position, (centre, size, score) in zip((5, 100), PLANTED, strict=True):
        points = [(*point, 0.5)[: (numbers - 5) // 5] for point in landmarks_of(centre)]
        columns[:, position] = [*centre, *size, score, *np.ravel(points)]
    return [columns]


def as_maps(channels):
    maps = [np.full((channels, rows, columns), -20, np.float32) for _, rows, columns in CELLS]
    for (stride, _, _), array, (centre, size, score) in zip(CELLS, maps, PLANTED, strict=False):
        j, i = (int(value // stride) for value in centre)
        for side in range(4):
            axis, sign = side % 2, 1 if side > 1 else -1
            edge = centre[axis] + sign * size[axis] / 2
            distance = sign * (edge / stride - (j, i)[axis] - 0.5)
            low = int(distance)
            array[16 * side : 16 * side + 16, i, j] = -100
            array[16 * side + low, i, j] = math.log(1 - (distance - low) + 1e-12)
            array[16 * side + low + 1, i, j] = math.log(distance - low + 1e-12)
        array[64, i, j] = math.log(score / (1 - score))
        if channels == 80:
            for k, (x, y) in enumerate(landmarks_of(centre)):
                array[65 + 3 * k : 68 + 3 * k, i, j] = (x / stride - j) / 2, (y / stride - i) / 2, 3
    return maps[::-1]


ANSWERS = {
    "rows": as_rows(),
    **{f"columns of {numbers}": as_columns(numbers) for numbers in (20, 15, 5)},
    **{f"maps of {channels}": as_maps(channels) for channels in (80, 65)},
}
