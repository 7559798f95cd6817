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


def updates(tracker, video):
    """Track the faces of frames that are a second apart."""
    return [tracker.update(faces, time) for time, faces in enumerate(video)]


@given(frames)
def test_no_two_faces_of_a_frame_share_a_track(video):
    tracker = FaceTracker()
    for time, faces in enumerate(video):
        numbers = tracker.update(faces, time)
        assert len(numbers) == len(set(numbers)) == len(faces)
        assert set(numbers) <= tracker.alive


@given(frames)
def test_the_same_faces_give_the_same_numbers(video):
    first, second = FaceTracker(), FaceTracker()
    assert updates(first, video) == updates(second, video)


@given(frames)
def test_numbers_increase_without_gaps(video):
    tracker = FaceTracker()
    seen = list(dict.fromkeys(itertools.chain.from_iterable(updates(tracker, video))))
    assert seen == list(range(len(seen)))


@given(frames, st.integers(0, 3))
def test_matches_agree_with_a_plain_greedy_loop(video, max_gap):
    tracker = FaceTracker(max_gap=max_gap)
    last, seen, count = {}, {}, 0
    for time, faces in enumerate(video):
        last = {track: face for track, face in last.items() if time - seen[track] <= max(max_gap, 1)}
        expected, free = {}, set(last)
        while True:
            pairs = [(last[t].iou(f), -t, -i) for t in free for i, f in enumerate(faces) if i not in expected]
            best = max(pairs, default=(0, 0, 0))
            if best[0] < 0.3:
                break
            expected[-best[2]] = -best[1]
            free.remove(-best[1])
        for index, face in enumerate(faces):
            if index not in expected:
                expected[index], count = count, count + 1
            last[expected[index]], seen[expected[index]] = face, time
        assert tracker.update(faces, time) == [expected[index] for index in range(len(faces))]
        assert tracker.alive == set(last)


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=20), st.randoms())
def test_distant_faces_that_move_a_little_keep_their_numbers(steps, random):
    tracker = FaceTracker()
    positions = [(0, 0), (100, 0), (0, 100)]
    assert tracker.update([box(x, y) for x, y in positions], 0) == [0, 1, 2]
    for time, (dx, dy) in enumerate(steps):
        positions = [(x + dx, y + dy) for x, y in positions]
        order = random.sample(range(3), 3)
        assert tracker.update([box(*positions[index]) for index in order], time) == order


def test_faces_that_cross_at_different_heights_keep_their_numbers():
    tracker = FaceTracker()
    for x in range(0, 101, 5):
        assert tracker.update([box(x, 0), box(100 - x, 14)], x / 25) == [0, 1]


@pytest.mark.parametrize(("gap", "known"), [(0.5, True), (1.0, True), (1.04, False)])
def test_a_hidden_face_rejoins_its_track_until_that_ends(gap, known):
    tracker = FaceTracker(max_gap=1)
    tracker.update([box(0, 0)], 2.0)
    tracker.update([], 2.04)
    assert tracker.update([], 2.0 + gap) == []
    assert tracker.alive == ({0} if known else frozenset())
    assert tracker.update([box(1, 1)], 2.0 + gap) == [0 if known else 1]


def test_faces_of_consecutive_updates_match_however_far_apart_these_are():
    tracker = FaceTracker(max_gap=0)
    assert [tracker.update([box(0, 0)], time) for time in (0, 5, 60)] == [[0]] * 3


def test_an_earlier_time_ends_all_tracks():
    tracker = FaceTracker()
    assert [tracker.update([box(0, 0)], time) for time in (3, 0)] == [[0], [1]]


def test_a_match_renews_a_track():
    tracker = FaceTracker(max_gap=1)
    faces = [[box(0, 0)], []] * 4
    assert [tracker.update(found, time / 2) for time, found in enumerate(faces)] == [[0], []] * 4


def test_the_pair_with_the_largest_overlap_is_matched_first():
    tracker = FaceTracker()
    tracker.update([box(0, 0), box(12, 0)], 0)
    assert tracker.update([box(9, 0)], 0.1) == [1]
    assert tracker.update([box(3, 0), box(9, 0)], 0.2) == [0, 1]


def test_an_overlap_below_min_iou_starts_a_new_track():
    tracker = FaceTracker(min_iou=0.5)
    tracker.update([box(0, 0)], 0)
    assert tracker.update([box(8, 0)], 0) == [1]  # overlap 12 / 28


@pytest.mark.parametrize(
    "options", [{"min_iou": 0}, {"min_iou": 1.1}, {"max_gap": -1}, {"max_gap": float("nan")}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="got"):
        FaceTracker(**options)
