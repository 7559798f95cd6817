"""Summaries of tracks."""

import numpy as np
import pytest

from fer_attention.faces import Face
from fer_attention.recognizer import FacePrediction
from fer_attention.video import Frame, FrameResult, TrackSummaries, VideoPrediction


def result(time, happy, *tracks, analysed=True):
    face = FacePrediction(Face((0, 0, 9, 9), 1), {"happy": happy, "sad": 1 - happy})
    frame = Frame(round(10 * time), time, np.zeros((9, 9, 3), np.uint8))
    return FrameResult(frame, [VideoPrediction(track, face) for track in tracks], analysed)


def test_a_track_has_its_times_and_the_mean_of_its_probabilities():
    tracks = TrackSummaries()
    for one in (result(1, 0.9, 0), result(2, 0.1, 0, analysed=False), result(3, 0.2, 0, 4)):
        tracks.add(one)
    assert (tracks[0].first, tracks[0].last, tracks[0].frames) == (1, 3, 2)
    assert tracks[0].mean.probabilities == pytest.approx({"happy": 0.55, "sad": 0.45})
    assert list(tracks.lasting) == [0]


def test_passing_tracks_are_listed_if_there_are_no_others():
    tracks = TrackSummaries()
    tracks.add(result(1, 0.9, 2, 3))
    assert list(tracks.lasting) == [2, 3]
