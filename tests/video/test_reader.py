import os
import subprocess
import sys
import warnings
import weakref

import av
import numpy as np
import pytest
from PIL import Image

from fer_attention.video import (
    FaceTracker,
    TrackedFace,
    VideoError,
    VideoReader,
    VideoWarning,
    detect_video,
)
from tests.support.paths import ROOT
from tests.support.videos import SquareDetector, index_of, make_clip, set_display_matrix, square, truncate

FASTSTART = {"movflags": "faststart"}  # the index first, so that a cut file still opens


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip.mp4", map(square, range(20)))


@pytest.fixture
def cut_clip(tmp_path):
    path = make_clip(tmp_path / "cut.mp4", [square(i, size=(640, 480)) for i in range(60)], options=FASTSTART)
    return truncate(path, 0.6)


def frames_of(path):
    with VideoReader(path) as reader:
        return list(reader)


def test_a_clip_is_read_frame_by_frame_with_times_and_facts(clip):
    with VideoReader(str(clip)) as reader:
        facts = reader.fps, reader.size, reader.frames, reader.duration, reader.live
        frames = list(reader)
        assert list(reader) == []
    assert facts == (10, (160, 120), 20, 2, False)
    assert [frame.index for frame in frames] == [index_of(frame.image) for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 10)
    assert frames[0].image.dtype == np.uint8
    assert np.abs(frames[7].image.astype(int) - square(7)).mean() < 2


def test_times_of_a_varying_frame_rate_count_from_the_start_of_the_file(tmp_path):
    times = [0.5, 0.6, 1.1, 1.15, 3.0]
    frames = frames_of(make_clip(tmp_path / "varying.mp4", map(square, range(5)), times=times))
    np.testing.assert_allclose([frame.time for frame in frames], np.array(times) - 0.5, atol=1e-4)


def test_transport_streams_start_at_nought_like_any_other(tmp_path):
    frames = frames_of(make_clip(tmp_path / "clip.ts", map(square, range(12)), start=7.0))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 10, atol=1e-4)


TURNS = {  # of the display matrix: what it does to the stored picture
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (-1, 0, 0, 1): lambda image: image[:, ::-1],
    (1, 0, 0, -1): lambda image: image[::-1],
    (0, 1, 1, 0): lambda image: image.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).transpose(1, 0, 2),
}


@pytest.mark.parametrize("matrix", TURNS)
def test_frames_are_turned_upright_by_the_display_matrix(tmp_path, matrix):
    image = np.zeros((120, 160, 3), np.uint8)
    image[:60, :80], image[:60, 80:], image[60:, :80] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    path = make_clip(tmp_path / "phone.mp4", [image] * 3)
    set_display_matrix(path, *matrix)
    expected = TURNS[matrix](image)
    with VideoReader(path) as reader:
        assert reader.size == expected.shape[1::-1]
        for frame in reader:
            assert frame.image.flags.c_contiguous
            assert np.abs(frame.image.astype(int) - expected).mean() < 4
    if matrix[0] * matrix[3] - matrix[1] * matrix[2] > 0:  # not mirrored: PyAV's own angle says the same
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            assert np.array_equal(TURNS[matrix](image), np.rot90(image, frame.rotation // 90))


def test_frames_keep_one_size_where_the_video_changes_it(tmp_path):
    parts = [
        make_clip(tmp_path / f"{width}.ts", [square(i, size=(width, 120)) for i in range(3)])
        for width in (160, 240)
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = frames_of(tmp_path / "both.ts")
    assert len(frames) == 6
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
    assert sorted(frame.time for frame in frames) == [frame.time for frame in frames]


def test_what_is_no_video_is_refused_with_the_reason(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "text.txt").write_text("no video\n" * 50)
    Image.new("RGB", (32, 32)).save(tmp_path / "picture.png")
    make_clip(tmp_path / "whole.mp4", map(square, range(9)))
    truncate((tmp_path / "whole.mp4").rename(tmp_path / "without_index.mp4"), 0.5)
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
    for name, reason in {
        "missing.mp4": "no such file",
        "empty.mp4": "damaged, incomplete or not a video",
        "noise.mp4": "damaged, incomplete or not a video",
        "without_index.mp4": "damaged, incomplete or not a video",
        "text.txt": "a text file, not a video",
        "picture.png": "use `predict` for images",
        "sound.wav": "no video stream, only audio",
        ".": "a folder",
    }.items():
        with pytest.raises(VideoError, match=reason) as error:
            VideoReader(tmp_path / name)
        assert name in str(error.value)


def test_a_video_without_a_single_frame_is_refused(tmp_path):
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=r"none\.mkv': it has no frame"):
        VideoReader(tmp_path / "none.mkv")


def test_damage_in_the_middle_comes_after_the_frames_before_it_and_says_where(cut_clip):
    frames = []
    with VideoReader(cut_clip) as reader, pytest.raises(VideoError) as error:  # noqa: PT012
        for frame in reader:
            frames.append(frame)  # noqa: PERF402
    assert 10 < len(frames) < 60
    assert [index_of(frame.image) for frame in frames] == [index % 20 for index in range(len(frames))]
    message = str(error.value)
    assert "cut.mp4" in message
    assert f"from frame {len(frames)} on" in message
    assert f"at about {len(frames) / 10:.3f} s" in message


def test_a_file_that_ends_before_its_header_says_is_warned_about(tmp_path):
    path = make_clip(tmp_path / "cut.mkv", [square(i, size=(640, 480)) for i in range(60)])
    with pytest.warns(VideoWarning, match=r"its header says 6\.0 s"):
        assert 10 < len(frames_of(truncate(path, 0.6))) < 60


def test_whole_files_give_no_warning(clip):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames_of(clip)


def test_tags_in_another_encoding_are_no_obstacle(tmp_path):
    path = tmp_path / "tagged.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "MARKER"
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(square(0), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"MARKER", "Müller".encode("latin-1")))
    assert len(frames_of(path)) == 1


def test_without_pyav_the_extra_is_named(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"fer_attention\[faces\]"):
        VideoReader(clip)


def test_a_camera_gives_frames_one_by_one(clip, monkeypatch):
    monkeypatch.setattr("fer_attention.video.reader.open_camera", lambda number: av.open(str(clip)))
    detector = SquareDetector()
    assert len(list(detect_video(0, detector))) == 20
    assert detector.batches == [1] * 20
    with VideoReader(3) as reader:
        assert reader.live
        assert (reader.name, reader.duration) == ("camera 3", None)


def test_missing_cameras_are_clear_errors():
    for number in (-1, 4321):
        with pytest.raises(VideoError, match=f"Cannot read camera {number}: "):
            VideoReader(number)


def test_faces_are_found_and_followed(clip):
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
def test_each_nth_frame_is_looked_at_in_batches(clip, every, batch_size):
    detector = SquareDetector()
    found = list(detect_video(clip, detector, every=every, batch_size=batch_size))
    expected = list(range(0, 20, every))
    assert [frame.index for frame, _ in found] == [index_of(frame.image) for frame, _ in found] == expected
    assert max(detector.batches) == min(batch_size, len(expected))
    assert sum(detector.batches) == len(expected)


def test_a_tracker_of_ones_own_goes_on_counting(clip):
    tracker = FaceTracker(max_missed=0)
    list(detect_video(clip, SquareDetector(), tracker=tracker))
    tracker.update([])
    assert {face.track for _, [face] in detect_video(clip, SquareDetector(), tracker=tracker)} == {1}


def test_a_reader_of_ones_own_stays_open(clip):
    with VideoReader(clip) as reader:
        found = detect_video(reader, SquareDetector(), batch_size=2)
        assert next(found)[0].index == 0
        found.close()
        assert next(reader).index == 2


def test_faces_before_the_damage_are_given(cut_clip):
    indices = []
    with pytest.raises(VideoError, match="from frame"):  # noqa: PT012
        for frame, _ in detect_video(cut_clip, SquareDetector()):
            indices.append(frame.index)  # noqa: PERF401
    with VideoReader(cut_clip) as reader, pytest.raises(VideoError, match=f"from frame {len(indices)} on"):
        list(reader)


def test_no_more_than_a_batch_of_frames_is_held(clip, monkeypatch):
    alive, most = weakref.WeakSet(), 0
    original = VideoReader.__next__

    def watched(reader):
        nonlocal most
        frame = original(reader)
        alive.add(frame)
        most = max(most, len(alive))
        return frame

    monkeypatch.setattr(VideoReader, "__next__", watched)
    for _ in detect_video(clip, SquareDetector(), batch_size=4):
        pass
    assert most <= 4 + 1  # and the one in the caller's hands


@pytest.mark.parametrize("options", [{"every": 0}, {"batch_size": 0}])
def test_steps_that_go_nowhere_are_refused_at_once(options):
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


@pytest.mark.data
def test_a_real_clip_is_read_to_its_end(shared_dir):
    with VideoReader(shared_dir / "media" / "faces.mp4") as reader:
        assert (reader.size, reader.frames) == ((1920, 1080), 105)
        times = [frame.time for frame in reader]
    np.testing.assert_allclose(times, np.arange(105) / 25, atol=1e-3)
