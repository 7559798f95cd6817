"""Faces that have the same number from frame to frame."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_attention.faces import Face
from fer_attention.video import FaceTracker

corners = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(5, 40), st.integers(5, 40))
frames = st.lists(st.lists(corners.map(lambda c: box(*c)), max_size=6), max_size=8)


def box(x, y, width=20, height=20):
    return Face((x, y, x + width, y + height), score=1.0)


@given(frames)
def test_no_two_faces_of_a_frame_share_a_track(video):
    tracker = FaceTracker()
    for faces in video:
        numbers = tracker.update(faces)
        assert len(numbers) == len(set(numbers)) == len(faces)
        assert set(numbers) <= tracker.alive


@given(frames)
def test_the_same_faces_give_the_same_numbers(video):
    first, second = FaceTracker(), FaceTracker()
    assert [first.update(faces) for faces in video] == [second.update(faces) for faces in video]


@given(frames)
def test_numbers_increase_without_gaps(video):
    tracker = FaceTracker()
    seen = list(dict.fromkeys(itertools.chain.from_iterable(tracker.update(faces) for faces in video)))
    assert seen == list(range(len(seen)))


@given(frames, st.integers(0, 3))
def test_matches_agree_with_a_plain_greedy_loop(video, max_missed):
    tracker = FaceTracker(max_missed=max_missed)
    last, missed, count = {}, {}, 0
    for faces in video:
        expected, free = {}, set(last)
        while True:
            pairs = [(last[t].iou(f), -t, -i) for t in free for i, f in enumerate(faces) if i not in expected]
            best = max(pairs, default=(0, 0, 0))
            if best[0] < 0.3:
                break
            expected[-best[2]] = -best[1]
            free.remove(-best[1])
        for track in free:
            missed[track] += 1
            if missed[track] > max_missed:
                del last[track]
        for index, face in enumerate(faces):
            if index not in expected:
                expected[index], count = count, count + 1
            last[expected[index]], missed[expected[index]] = face, 0
        assert tracker.update(faces) == [expected[index] for index in range(len(faces))]
        assert tracker.alive == set(last)


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=20), st.randoms())
def test_distant_faces_that_move_a_little_keep_their_numbers(steps, random):
    tracker = FaceTracker()
    positions = [(0, 0), (100, 0), (0, 100)]
    assert tracker.update([box(x, y) for x, y in positions]) == [0, 1, 2]
    for dx, dy in steps:
        positions = [(x + dx, y + dy) for x, y in positions]
        order = random.sample(range(3), 3)
        assert tracker.update([box(*positions[index]) for index in order]) == order


def test_faces_that_cross_at_different_heights_keep_their_numbers():
    tracker = FaceTracker()
    for x in range(0, 101, 5):
        assert tracker.update([box(x, 0), box(100 - x, 14)]) == [0, 1]


def test_a_hidden_face_rejoins_its_track_until_that_ends():
    for missed, known in ((10, True), (11, False)):
        tracker = FaceTracker(max_missed=10)
        tracker.update([box(0, 0)])
        for _ in range(missed):
            assert tracker.update([]) == []
        assert tracker.alive == ({0} if known else frozenset())
        assert tracker.update([box(1, 1)]) == [0 if known else 1]


def test_a_match_resets_the_count_of_missed_updates():
    tracker = FaceTracker(max_missed=1)
    for _ in range(4):
        assert tracker.update([box(0, 0)]) == [0]
        tracker.update([])


def test_the_pair_with_the_largest_overlap_is_matched_first():
    tracker = FaceTracker()
    tracker.update([box(0, 0), box(12, 0)])
    assert tracker.update([box(9, 0)]) == [1]
    assert tracker.update([box(3, 0), box(9, 0)]) == [0, 1]


def test_an_overlap_below_min_iou_starts_a_new_track():
    tracker = FaceTracker(min_iou=0.5)
    tracker.update([box(0, 0)])
    assert tracker.update([box(8, 0)]) == [1]  # overlap 12 / 28


@pytest.mark.parametrize("options", [{"min_iou": 0}, {"min_iou": 1.1}, {"max_missed": -1}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="got"):
        FaceTracker(**options)
