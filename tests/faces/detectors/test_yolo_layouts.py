"""Decoders of YOLO outputs, checked against loops over single candidates."""

import math

import numpy as np
import pytest

from fer_attention.faces.detectors.yolo_layouts import (
    LAYOUTS,
    decode_columns,
    decode_maps,
    decode_rows,
    find_layout,
)

SIZE = (64, 96)
MAPS = [(8, 12), (4, 6), (2, 3)]


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def centred(x, y, width, height):
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def rows_by_loops(rows, min_score):
    for row in rows.tolist():
        score = row[4] * row[15]
        if score >= min_score:
            yield centred(*row[:4]), score, [[row[5 + 2 * k], row[6 + 2 * k]] for k in range(5)]


def columns_by_loops(columns, min_score):
    step = {20: 3, 15: 2, 5: None}[len(columns)]
    for index in range(columns.shape[1]):
        column = [float(value) for value in columns[:, index]]
        if column[4] >= min_score:
            points = step and [[column[5 + step * k], column[6 + step * k]] for k in range(5)]
            yield centred(*column[:4]), column[4], points


def maps_by_loops(maps, size, min_score):
    for array in maps:
        stride = size[1] / array.shape[2]
        for i in range(array.shape[1]):
            for j in range(array.shape[2]):
                cell = [float(value) for value in array[:, i, j]]
                score = sigmoid(cell[64])
                if score < min_score:
                    continue
                sides = []
                for side in range(4):
                    weights = [math.exp(value) for value in cell[16 * side : 16 * side + 16]]
                    sides.append(sum(k * weight for k, weight in enumerate(weights)) / sum(weights))
                left, top, right, bottom = sides
                box = [j + 0.5 - left, i + 0.5 - top, j + 0.5 + right, i + 0.5 + bottom]
                points = None
                if len(cell) == 80:
                    points = [
                        [(2 * cell[65 + 3 * k] + j) * stride, (2 * cell[66 + 3 * k] + i) * stride]
                        for k in range(5)
                    ]
                yield [value * stride for value in box], score, points


def assert_same(candidates, expected):
    expected = list(expected)
    assert len(candidates.boxes) == len(candidates.scores) == len(expected)
    order = np.lexsort(candidates.boxes.T)
    expected.sort(key=lambda candidate: candidate[0][::-1])
    np.testing.assert_allclose(candidates.boxes[order], [box for box, _, _ in expected], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        candidates.scores[order], [score for _, score, _ in expected], rtol=1e-5, atol=1e-6
    )
    if candidates.landmarks is None:
        assert all(points is None for _, _, points in expected)
    else:
        points = [points for _, _, points in expected]
        np.testing.assert_allclose(candidates.landmarks[order], points, rtol=1e-4, atol=1e-3)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("min_score", [0.0, 0.3, 0.7])
def test_rows_are_decoded_like_in_a_loop(min_score):
    rows = random(200, 16) * 50
    rows[:, [4, 15]] = np.random.default_rng(1).random((200, 2))
    expected = list(rows_by_loops(rows, min_score))
    assert 0 < len(expected) <= 200
    assert_same(decode_rows([rows], SIZE, min_score), expected)


@pytest.mark.parametrize("min_score", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("numbers", [20, 15, 5])
def test_columns_are_decoded_like_in_a_loop(numbers, min_score):
    columns = random(numbers, 200) * 50
    columns[4] = np.random.default_rng(1).random(200)
    expected = list(columns_by_loops(columns, min_score))
    assert 0 < len(expected) <= 200
    assert_same(decode_columns([columns], SIZE, min_score), expected)


@pytest.mark.parametrize("min_score", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("channels", [80, 65])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_maps_are_decoded_like_in_a_loop_in_any_order(channels, order, min_score):
    maps = [2 * random(channels, *MAPS[index], seed=index) for index in order]
    expected = list(maps_by_loops(maps, SIZE, min_score))
    assert 0 < len(expected) <= 126
    assert_same(decode_maps(maps, SIZE, min_score), expected)


def test_half_precision_is_decoded_to_single_precision():
    maps = [random(80, *sides, seed=1).astype(np.float16) for sides in MAPS]
    candidates = decode_maps(maps, SIZE, 0.5)
    assert candidates.boxes.dtype == candidates.scores.dtype == candidates.landmarks.dtype == np.float32
    assert_same(candidates, maps_by_loops([array.astype(np.float32) for array in maps], SIZE, 0.5))
    rows = np.abs(random(40, 16)).astype(np.float16)
    rows[:, [4, 15]] /= 4
    assert_same(decode_rows([rows], SIZE, 0), rows_by_loops(rows.astype(np.float32), 0))
    assert decode_columns([rows[:, :15].T], SIZE, 0).scores.dtype == np.float32


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("wanted", ["five landmarks", "none"])
def test_no_candidates_are_empty_arrays_of_the_right_shape(layout, wanted):
    shapes = {
        "YOLO5Face rows": [(30, 16)],
        "YOLOv8-face maps": [(80 if wanted == "five landmarks" else 65, *sides) for sides in MAPS],
        "decoded columns": [(20 if wanted == "five landmarks" else 5, 126)],
    }[layout.name]
    candidates = layout.decode([np.full(shape, -1, np.float32) for shape in shapes], SIZE, 1.0)
    if layout.name == "YOLO5Face rows":  # minus one times minus one
        assert len(candidates.scores) == 30
        return
    assert candidates.boxes.shape == (0, 4)
    assert candidates.scores.shape == (0,)
    assert candidates.landmarks is None if wanted == "none" else candidates.landmarks.shape == (0, 5, 2)


def test_scores_are_clipped_and_huge_logits_do_not_overflow():
    rows = np.full((16, 16), 1.5, np.float32)
    columns = np.full((5, 126), 1.01, np.float32)
    maps = [np.full((65, *sides), 1e4, np.float32) for sides in MAPS]
    with np.errstate(all="raise"):
        for candidates in (
            decode_rows([rows], SIZE, 0.6),
            decode_columns([columns], SIZE, 0.6),
            decode_maps(maps, SIZE, 0.6),
        ):
            assert len(candidates.scores) > 0
            assert (candidates.scores == 1).all()


def test_candidates_with_a_nan_score_are_dropped():
    rows, columns = np.ones((16, 16), np.float32), np.ones((5, 126), np.float32)
    maps = [np.ones((80, *sides), np.float32) for sides in MAPS]
    rows[3, 4] = columns[4, 7] = maps[1][64, 2, 2] = np.nan
    assert len(decode_rows([rows], SIZE, 0).scores) == 15
    assert len(decode_columns([columns], SIZE, 0).scores) == 125
    assert len(decode_maps(maps, SIZE, 0).scores) == 125


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        ([(25200, 16)], "YOLO5Face rows"),
        ([(20, 8400)], "decoded columns"),
        ([(15, 8400)], "decoded columns"),
        ([(5, 8400)], "decoded columns"),
        ([(20, 16)], "YOLO5Face rows"),  # the longer axis counts the anchors
        ([(15, 16)], "decoded columns"),
        ([(16, 16)], "YOLO5Face rows"),
        ([(80, 80, 80), (80, 40, 40), (80, 20, 20)], "YOLOv8-face maps"),
        ([(80, 20, 20), (80, 80, 80), (80, 40, 40)], "YOLOv8-face maps"),
        ([(65, 80, 80), (65, 40, 40), (65, 20, 20)], "YOLOv8-face maps"),
    ],
)
@pytest.mark.parametrize("batch", [1, 4])
def test_the_layout_is_recognised_by_output_shapes(shapes, name, batch):
    shapes = [(batch, *shape) for shape in shapes]
    assert find_layout(shapes, batch=batch, size=(640, 640)).name == name


def test_no_two_layouts_fit_the_same_shape():
    for first in range(1, 40):
        for second in range(1, 40):
            fitting = [layout.name for layout in LAYOUTS if layout.fits([(first, second)], (640, 640))]
            assert len(fitting) <= 1, (first, second, fitting)


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 84, 8400)],  # COCO's eighty classes
        [(1, 300, 6)],  # end to end, suppressed inside
        [(1, 25200, 85)],
        [(1, 8400, 20)],
        [(1, 16, 25200)],
        [(1, 20, 8400), (1, 20, 8400)],
        [(1, 80, 80, 80), (1, 80, 40, 40)],
        [(1, 80, 80, 80), (1, 80, 40, 40), (1, 65, 20, 20)],
        [(1, 80, 80, 80), (1, 80, 80, 80), (1, 80, 20, 20)],
        [(1, 80, 80, 80), (1, 80, 40, 20), (1, 80, 20, 20)],
        [(1, 80, 60, 60), (1, 80, 30, 30), (1, 80, 15, 15)],  # strides that do not fit the input
        [(1, 3, 80, 80, 16), (1, 3, 40, 40, 16), (1, 3, 20, 20, 16)],
        [(2, 20, 8400)],  # two results for one picture
        [(1, 1000)],
        [(1,)],
        [()],
        [],
    ],
    ids=str,
)
def test_unknown_shapes_are_refused_with_the_known_layouts(shapes):
    with pytest.raises(ValueError, match="Known are: YOLO5Face rows") as caught:
        find_layout(shapes, batch=1, size=(640, 640))
    assert ", ".join(map(str, shapes)) in str(caught.value)
    assert all(layout.outputs in str(caught.value) for layout in LAYOUTS)
