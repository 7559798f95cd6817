"""Candidates of a face, and the record that decides them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.calibration import CALIBRATION, Calibration, answer_of, mass_before

shares = st.lists(st.integers(0, 20), min_size=2, max_size=8).filter(any).map(lambda c: np.array(c) / sum(c))


@given(shares, st.floats(0, 1))
def test_candidates_are_the_first_emotions_until_the_threshold_is_exceeded(values, threshold):
    probabilities = {f"emotion {n}": float(p) for n, p in enumerate(values)}
    expected, mass = [], 0.0
    for name in sorted(probabilities, key=lambda name: -probabilities[name]):
        if mass > threshold:
            break
        expected.append(name)
        mass += probabilities[name]
    found = Calibration(threshold=threshold).candidates(probabilities)
    assert list(found) == expected
    assert (len(found) == 1) == (max(probabilities.values()) > threshold)


@given(shares)
def test_the_mass_before_a_class_is_that_of_the_more_probable_ones(values):
    found = mass_before(values[None])[0]
    for index, value in enumerate(values):
        more = sum(v for i, v in enumerate(values) if v > value or (v == value and i < index))
        assert found[index] == pytest.approx(more)


def test_without_a_fit_the_candidates_have_nine_tenths_of_the_probability():
    unfitted = Calibration()
    assert unfitted.candidates({"happy": 0.92, "sad": 0.08}) == ("happy",)
    assert unfitted.candidates({"happy": 0.5, "sad": 0.3, "fear": 0.15, "angry": 0.05}) == (
        "happy",
        "sad",
        "fear",
    )


def test_a_record_gives_back_its_calibration():
    fitted = Calibration(1.5, 0.6, 0.9, truth="votes", split="public", n=3000, fingerprint="ab")
    assert Calibration.from_record({"seed": 0, **fitted.to_record()}) == fitted
    assert Calibration.from_record({"seed": 0}) == Calibration()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"temperature": 0}, "temperature of a calibration is above 0"),
        ({"temperature": "warm"}, "finite number, got 'warm'"),
        ({"temperature": float("nan")}, "finite number"),
        ({"threshold": 1.5}, "from 0 to 1"),
        ({"coverage": 90}, "is between 0 and 1"),
        ({"truth": "gut feeling"}, "'votes', 'labels' or None"),
        ({"heat": 2}, "damaged.*heat"),
        ("hot", "damaged"),
    ],
)
def test_a_damaged_calibration_is_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        Calibration.from_record({CALIBRATION: entry})


def test_an_answer_names_at_most_three_candidates():
    assert answer_of(("happy",)) == "happy"
    assert answer_of(("happy", "neutral")) == "unsure (happy / neutral)"
    assert answer_of(("sad", "fear", "angry")) == "unsure (sad / fear / angry)"
    assert answer_of(("sad", "fear", "angry", "disgust", "happy")) == "unsure (sad / fear / angry / …)"
