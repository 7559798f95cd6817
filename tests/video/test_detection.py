"""Faces detected and tracked in a video."""

import os
import subprocess
import sys

import av
import pytest

from fer_attention.video import FaceTracker, TrackedFace, VideoError, VideoReader, detect_video
from tests.support.paths import ROOT
from tests.support.videos import SquareDetector, index_of, make_clip, square


def test_frames_of_a_camera_are_analysed_one_by_one(clip, monkeypatch):
    monkeypatch.setattr("fer_attention.video.reader.open_camera", lambda number: av.open(str(clip)))
    detector = SquareDetector()
    assert len(list(detect_video(0, detector))) == 20
    assert detector.batches == [1] * 20
    with VideoReader(3) as reader:
        assert reader.live
        assert (reader.name, reader.duration) == ("camera 3", None)


def test_faces_are_detected_and_tracked(clip):
    found = list(detect_video(clip, SquareDetector()))
    assert [frame.index for frame, _ in found] == list(range(20))
    for frame, faces in found:
        [tracked] = faces
        assert isinstance(tracked, TrackedFace)
        assert tracked.track == 0
        left = 10 + 3 * frame.index
        assert tracked.face.box == pytest.approx((left, 40, left + 40, 80), abs=2)


@pytest.mark.parametrize("every", [1, 2, 7, 30])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_nth_frame_is_analysed_in_batches(clip, every, batch_size):
    detector = SquareDetector()
    found = list(detect_video(clip, detector, every=every, batch_size=batch_size))
    expected = list(range(0, 20, every))
    assert [frame.index for frame, _ in found] == [index_of(frame.image) for frame, _ in found] == expected
    assert max(detector.batches) == min(batch_size, len(expected))
    assert sum(detector.batches) == len(expected)


def test_a_passed_tracker_continues_its_numbers(clip):
    tracker = FaceTracker()
    list(detect_video(clip, SquareDetector(), tracker=tracker))
    assert {face.track for _, [face] in detect_video(clip, SquareDetector(), tracker=tracker)} == {1}


def test_a_passed_reader_stays_open(clip):
    with VideoReader(clip) as reader:
        found = detect_video(reader, SquareDetector(), batch_size=2)
        assert next(found)[0].index == 0
        found.close()
        assert next(reader).index == 2


def test_faces_before_the_damage_are_returned(cut_clip):
    indices = []
    with pytest.raises(VideoError, match="from frame"):  # noqa: PT012
        for frame, _ in detect_video(cut_clip, SquareDetector()):
            indices.append(frame.index)  # noqa: PERF401
    with VideoReader(cut_clip) as reader, pytest.raises(VideoError, match=f"from frame {len(indices)} on"):
        list(reader)


def test_at_most_one_batch_of_frames_is_in_memory(clip, most_frames_in_memory):
    for _ in detect_video(clip, SquareDetector(), batch_size=4):
        pass
    assert most_frames_in_memory() <= 4 + 1  # one is in the caller's hands


@pytest.mark.parametrize("options", [{"every": 0}, {"batch_size": 0}])
def test_steps_below_one_are_refused_at_once(options):
    with pytest.raises(ValueError, match="got 0"):
        detect_video("missing.mp4", SquareDetector(), **options)


PEAK = """
import sys
from tests.support.videos import SquareDetector
from fer_attention.video import VideoReader, VideoWriter, detect_video
with VideoReader(sys.argv[1]) as reader:
    with VideoWriter(sys.argv[2], fps=reader.fps, size=reader.size, audio_from=sys.argv[1]) as writer:
        for frame, faces in detect_video(reader, SquareDetector()):
            writer.write(frame.image, frame.time)
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(writer.frames, int(peak) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads its peak memory from /proc")
def test_a_ten_times_longer_video_needs_no_more_memory(tmp_path):
    peaks = []
    for count in (100, 1000):
        path = tmp_path / f"{count}.mp4"
        make_clip(path, [square(i, size=(640, 480)) for i in range(20)] * (count // 20), tone="aac")
        command = [sys.executable, "-c", PEAK, str(path), str(tmp_path / "out.mp4")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        frames, peak = result.stdout.split()
        assert int(frames) == count
        peaks.append(float(peak))
    assert peaks[1] - peaks[0] < 15, peaks
