"""Faces, their boxes, and boxes in common terms."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given

from fer_attention.faces import BoxCalibration, CropRule, Face
from fer_attention.faces.face import largest_first
from tests.support.boxes import BOXES

FIVE = ((1.0, 1.0), (3.0, 1.0), (2.0, 2.0), (1.0, 3.0), (3.0, 3.0))


def test_a_face_has_width_height_area_and_centre():
    face = Face(box=np.array([1, 2, 4, 8]), score=np.float32(0.5), landmarks=FIVE)
    assert (face.width, face.height, face.area, face.centre) == (3, 6, 18, (2.5, 5))
    assert all(type(value) is float for value in face.box)


@pytest.mark.parametrize(
    "fields",
    [
        {"box": (4, 0, 4, 2)},
        {"box": (0, 3, 4, 2)},
        {"box": (0, 0, math.nan, 2)},
        {"box": (0, 0, 1)},
        {"score": 1.1},
        {"score": math.nan},
        {"landmarks": FIVE[:4]},
        {"landmarks": ((math.inf, 0),) * 5},
    ],
)
def test_an_invalid_face_is_refused(fields):
    with pytest.raises(ValueError, match="got"):
        Face(**{"box": (0, 0, 4, 2), "score": 0.5, **fields})


@given(BOXES, BOXES)
def test_iou_is_symmetric_bounded_and_one_for_itself(a, b):
    first, second = Face(a, 1), Face(b, 1)
    assert first.iou(second) == pytest.approx(second.iou(first))
    assert 0 <= first.iou(second) <= 1 + 1e-9
    assert first.iou(first) == pytest.approx(1)


def test_iou_agrees_with_a_hand_calculation():
    assert Face((0, 0, 2, 2), 1).iou(Face((1, 1, 3, 3), 1)) == pytest.approx(1 / 7)


def test_faces_are_sorted_by_area_then_position():
    boxes = [(5, 0, 6, 1), (0, 0, 9, 9), (0, 3, 1, 4), (0, 1, 1, 2)]
    ordered = [face.box for face in largest_first([Face(box, 0.5) for box in boxes])]
    assert ordered == [(0, 0, 9, 9), (0, 1, 1, 2), (0, 3, 1, 4), (5, 0, 6, 1)]


def test_faces_and_rules_round_trip_through_json():
    rule, face = CropRule(1.2, "longest", "pad"), Face(np.float32([1, 2, 3, 4]), np.float32(0.5), FIVE)
    assert CropRule(**json.loads(json.dumps(dataclasses.asdict(rule)))) == rule
    assert json.loads(json.dumps(dataclasses.asdict(face)))["box"] == [1, 2, 3, 4]


def test_a_box_calibration_moves_and_scales_about_the_centre():
    face = Face((10, 20, 30, 60), 1)
    assert BoxCalibration().common_box(face.box) == face.box
    assert BoxCalibration(2, 0.5, 0.1, -0.25).common_box(face.box) == pytest.approx((2, 20, 42, 40))
    with pytest.raises(ValueError, match="above 0"):
        BoxCalibration(height=0)
