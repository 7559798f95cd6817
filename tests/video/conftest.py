"""Clips, and a count of the frames in memory."""

import weakref

import pytest

from fer_attention.video import VideoReader
from tests.support.videos import make_clip, square, truncate

FASTSTART = {"movflags": "faststart"}  # the index first, so that a cut file still opens


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip.mp4", map(square, range(20)))


@pytest.fixture
def cut_clip(tmp_path):
    path = make_clip(tmp_path / "cut.mp4", [square(i, size=(640, 480)) for i in range(60)], options=FASTSTART)
    return truncate(path, 0.6)


@pytest.fixture
def most_frames_in_memory(monkeypatch):
    """A function that returns the largest number of frames that were in memory at once so far."""
    alive, counts = weakref.WeakSet(), [0]
    original = VideoReader.__next__

    def watched(reader):
        frame = original(reader)
        alive.add(frame)
        counts.append(len(alive))
        return frame

    monkeypatch.setattr(VideoReader, "__next__", watched)
    return lambda: max(counts)
