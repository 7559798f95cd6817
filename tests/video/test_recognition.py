"""Expressions in a video over time."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention import EmotionRecognizer
from fer_attention.calibration import Calibration
from fer_attention.recognizer import FacePrediction
from fer_attention.video import ExpressionSmoother, VideoError, recognize_video
from tests.support.videos import SquareDetector, index_of, make_clip, square

LABELS = ("happy", "sad")


class SquareRecognizer:
    """Recognizer whose probability of happy is the index of the frame / 20."""

    labels = LABELS

    def __init__(self):
        self.batches = []

    def predict(self, images):
        self.batches.append(len(images))
        return [
            [
                FacePrediction(face, {"happy": index_of(image) / 20, "sad": 1 - index_of(image) / 20})
                for face in faces
            ]
            for image, faces in zip(images, SquareDetector().detect(images), strict=True)
        ]


class FittedRecognizer(SquareRecognizer):
    """The same with a calibration."""

    def predict(self, images):
        rule = Calibration(threshold=0.55)
        return [[replace(face, calibration=rule) for face in faces] for faces in super().predict(images)]


def test_doubt_follows_from_the_smoothed_probabilities(clip):
    results = recognize_video(FittedRecognizer(), clip, smoothing=0.1)
    found = [result.faces[0].prediction for result in results]
    assert {one.calibration.threshold for one in found} == {0.55}
    assert [one.unsure for one in found] == [max(one.probabilities.values()) <= 0.55 for one in found]
    assert len({one.unsure for one in found}) == 2


def plain_smoothing(times, values, seconds):
    """Compute each smoothed value as one sum over the past instead of step by step."""
    weights = [1 - math.exp(-(b - a) / seconds) for a, b in zip(times, times[1:], strict=False)]
    smoothed = []
    for last in range(len(values)):
        total, left = 0.0, 1.0
        for index in range(last, 0, -1):
            total += left * weights[index - 1] * values[index]
            left *= 1 - weights[index - 1]
        smoothed.append(total + left * values[0])
    return smoothed


@given(
    st.lists(st.tuples(st.floats(0.001, 2), st.floats(0, 1)), min_size=1, max_size=20), st.floats(0.01, 10)
)
def test_smoothing_is_an_exponential_average_over_time(samples, seconds):
    times = np.cumsum([step for step, _ in samples]).tolist()
    values = [value for _, value in samples]
    smoother = ExpressionSmoother(seconds)
    got = [smoother.update(3, t, {"happy": v, "sad": 1 - v}) for t, v in zip(times, values, strict=True)]
    np.testing.assert_allclose([p["happy"] for p in got], plain_smoothing(times, values, seconds), atol=1e-9)
    np.testing.assert_allclose([sum(p.values()) for p in got], 1)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_the_response_to_a_step_does_not_depend_on_the_frame_rate(every):
    smoother = ExpressionSmoother(0.5)
    smoother.update(0, 0.0, {"happy": 0.0})
    for frame in range(every, 11, every):
        smoothed = smoother.update(0, frame / 10, {"happy": 1.0})
    assert smoothed["happy"] == pytest.approx(1 - math.exp(-1.0 / 0.5))


def test_tracks_are_smoothed_separately_and_can_be_forgotten():
    smoother = ExpressionSmoother(1.0)
    smoother.update(0, 0.0, {"happy": 1.0})
    assert smoother.update(1, 0.5, {"happy": 0.0}) == {"happy": 0.0}
    smoother.keep({1, 7})
    assert smoother.update(0, 1.0, {"happy": 0.25}) == {"happy": 0.25}


def test_zero_smoothing_returns_values_unchanged():
    smoother = ExpressionSmoother(0)
    for time, value in ((0, 0.1), (0, 0.7), (0.04, 0.2)):
        assert smoother.update(0, time, {"happy": value}) == {"happy": pytest.approx(value)}


@pytest.mark.parametrize("every", [1, 3, 6, 50])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_all_frames_are_returned_and_every_nth_is_analysed(clip, every, batch_size):
    recognizer = SquareRecognizer()
    results = list(recognize_video(recognizer, clip, every=every, batch_size=batch_size, smoothing=0))
    assert [index_of(result.frame.image) for result in results] == list(range(20))
    assert [result.frame.index for result in results if result.analysed] == list(range(0, 20, every))
    for result in results:
        [face] = result.faces
        looked_at = result.frame.index // every * every
        assert face.track == 0
        assert face.prediction.probabilities["happy"] == pytest.approx(looked_at / 20)
    assert max(recognizer.batches) <= batch_size
    assert sum(recognizer.batches) == len(range(0, 20, every))


@pytest.mark.parametrize("every", [1, 3])
def test_probabilities_are_smoothed_over_the_times_of_analysed_frames(tmp_path, every):
    times = [0, 0.1, 0.2, 0.25, 0.9, 1.0, 1.5, 1.6, 1.7, 2.4]
    clip = make_clip(tmp_path / "clip.mp4", map(square, range(10)), times=times)
    results = list(recognize_video(SquareRecognizer(), clip, every=every, smoothing=0.4))
    expected = plain_smoothing(times[::every], [index / 20 for index in range(0, 10, every)], 0.4)
    got = [result.faces[0].prediction.probabilities["happy"] for result in results if result.analysed]
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_a_face_after_a_long_gap_gets_a_new_track(tmp_path):
    empty = [np.full((120, 160, 3), 30, np.uint8)] * 11
    clip = make_clip(tmp_path / "clip.mp4", [square(0), *empty, square(1)])
    results = list(recognize_video(SquareRecognizer(), clip))
    assert [[face.track for face in result.faces] for result in results] == [[0], *[[]] * 11, [1]]


def test_the_record_of_a_frame_serialises_to_json(clip):
    result = list(recognize_video(SquareRecognizer(), clip, every=2))[3]
    record = json.loads(json.dumps(result.to_dict()))
    assert (record["frame"], record["time"]) == (3, 0.3)
    assert record["faces"] == [{"track": 0, **result.faces[0].prediction.to_dict()}]


@pytest.mark.parametrize(("every", "batch_size"), [(1, 4), (3, 4), (50, 2)])
def test_few_frames_are_in_memory(clip, most_frames_in_memory, every, batch_size):
    for _ in recognize_video(SquareRecognizer(), clip, every=every, batch_size=batch_size):
        pass
    assert most_frames_in_memory() <= (batch_size - 1) * every + 1 + 1  # one is in the caller's hands
    assert most_frames_in_memory() <= 4 * batch_size + 1


def test_results_before_the_damage_are_returned(cut_clip):
    count = 0
    with pytest.raises(VideoError) as error:  # noqa: PT012
        for result in recognize_video(SquareRecognizer(), cut_clip, every=4):
            assert result.frame.index == count
            count += 1
    assert 10 < count < 60
    assert f"from frame {count} on" in str(error.value)


@pytest.mark.parametrize("options", [{"every": 0}, {"batch_size": 0}, {"smoothing": -1}])
def test_numbers_out_of_range_are_refused_at_once(options):
    with pytest.raises(ValueError, match="got"):
        recognize_video(SquareRecognizer(), "missing.mp4", **options)


def test_a_moving_face_is_one_happy_track(tmp_path, astronaut):
    face = np.asarray(astronaut)[0:240, 100:340]
    images = []
    for index in range(9):
        image = np.full((240, 320, 3), 90, np.uint8)
        image[:, 6 * index : 6 * index + 240] = face
        images.append(image)
    clip = make_clip(tmp_path / "slide.mp4", images)
    recognizer = EmotionRecognizer.from_pretrained(device="cpu")
    results = list(recognize_video(recognizer, clip, every=2))
    assert [len(result.faces) for result in results] == [1] * 9
    assert {result.faces[0].track for result in results} == {0}
    assert {result.faces[0].prediction.emotion for result in results} == {"happy"}
    moved = results[8].faces[0].prediction.face.centre[0] - results[0].faces[0].prediction.face.centre[0]
    assert moved == pytest.approx(48, abs=6)


@pytest.mark.slow
@pytest.mark.data
def test_people_in_a_real_clip_are_tracked(shared_dir):
    recognizer = EmotionRecognizer.from_pretrained(device="cpu")
    seen: dict[int, list[int]] = {}
    for result in recognize_video(recognizer, shared_dir / "media" / "faces.mp4", every=3):
        if result.analysed:
            for face in result.faces:
                seen.setdefault(face.track, []).append(result.frame.index)
    long = [frames for frames in seen.values() if len(frames) >= 25]
    assert len(long) >= 3
    assert len(seen) < 40
