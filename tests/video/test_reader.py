"""Videos and cameras read frame by frame."""

import sys
import warnings

import av
import numpy as np
import pytest
from PIL import Image

from fer_attention.video import (
    VideoError,
    VideoReader,
    VideoWarning,
)
from tests.support.videos import index_of, make_clip, set_display_matrix, square, truncate


def frames_of(path):
    with VideoReader(path) as reader:
        return list(reader)


def test_a_clip_is_read_with_frames_times_and_metadata(clip):
    with VideoReader(str(clip)) as reader:
        facts = reader.fps, reader.size, reader.frames, reader.duration, reader.live
        frames = list(reader)
        assert list(reader) == []
    assert facts == (10, (160, 120), 20, 2, False)
    assert [frame.index for frame in frames] == [index_of(frame.image) for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 10)
    assert frames[0].image.dtype == np.uint8
    assert np.abs(frames[7].image.astype(int) - square(7)).mean() < 2


def test_times_of_a_varying_frame_rate_start_at_zero(tmp_path):
    times = [0.5, 0.6, 1.1, 1.15, 3.0]
    frames = frames_of(make_clip(tmp_path / "varying.mp4", map(square, range(5)), times=times))
    np.testing.assert_allclose([frame.time for frame in frames], np.array(times) - 0.5, atol=1e-4)


def test_times_of_transport_streams_start_at_zero(tmp_path):
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
def test_frames_are_rotated_upright_by_the_display_matrix(tmp_path, matrix):
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


def test_frames_have_one_size_even_if_the_video_changes_it(tmp_path):
    parts = [
        make_clip(tmp_path / f"{width}.ts", [square(i, size=(width, 120)) for i in range(3)])
        for width in (160, 240)
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = frames_of(tmp_path / "both.ts")
    assert len(frames) == 6
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
    assert sorted(frame.time for frame in frames) == [frame.time for frame in frames]


def test_files_that_are_not_videos_are_refused_with_a_reason(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "text.txt").write_text("no video\n" * 50)
    for name in ("picture.png", "picture.jpg"):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
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
        "picture.png": "an image, not a video. Use `predict`",
        "picture.jpg": "an image, not a video. Use `predict`",
        "sound.wav": "no video stream, only audio",
        ".": "a folder",
    }.items():
        with pytest.raises(VideoError, match=reason) as error:
            VideoReader(tmp_path / name)
        assert name in str(error.value)


def test_a_video_without_frames_is_refused(tmp_path):
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=r"none\.mkv': it has no frame"):
        VideoReader(tmp_path / "none.mkv")


def test_damage_is_located_and_raised_after_the_frames_before_it(cut_clip):
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


def test_a_file_shorter_than_its_header_says_gives_a_warning(tmp_path):
    path = make_clip(tmp_path / "cut.mkv", [square(i, size=(640, 480)) for i in range(60)])
    with pytest.warns(VideoWarning, match=r"its header says 6\.0 s"):
        assert 10 < len(frames_of(truncate(path, 0.6))) < 60


def test_intact_files_give_no_warning(clip):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames_of(clip)


def test_tags_in_another_encoding_are_accepted(tmp_path):
    path = tmp_path / "tagged.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "MARKER"
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(square(0), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"MARKER", "Müller".encode("latin-1")))
    assert len(frames_of(path)) == 1


def test_the_extra_is_named_if_pyav_is_missing(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"fer_attention\[faces\]"):
        VideoReader(clip)


def test_missing_cameras_are_named():
    for number in (-1, 4321):
        with pytest.raises(VideoError, match=f"Cannot read camera {number}: "):
            VideoReader(number)


@pytest.mark.data
def test_a_real_clip_is_read_to_its_end(shared_dir):
    with VideoReader(shared_dir / "media" / "faces.mp4") as reader:
        assert (reader.size, reader.frames) == ((1920, 1080), 105)
        times = [frame.time for frame in reader]
    np.testing.assert_allclose(times, np.arange(105) / 25, atol=1e-3)
