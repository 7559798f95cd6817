"""Videos written frame by frame."""

import sys
import warnings

import av
import numpy as np
import pytest

from fer_attention.video import VideoError, VideoReader, VideoWarning, VideoWriter
from tests.support.videos import index_of, make_clip, sound_of, square, truncate


def frames_of(path):
    with VideoReader(path) as reader:
        return list(reader)


def write(path, images, **options):
    images = list(images)
    with VideoWriter(path, fps=10, size=images[0].shape[1::-1], **options) as writer:
        for image in images:
            writer.write(image)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_written_frames_are_read_back(tmp_path, suffix):
    path = write(tmp_path / f"out{suffix}", map(square, range(20)))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with VideoReader(path) as reader:
        assert (reader.fps, reader.size, reader.duration) == (10, (160, 120), 2)
        frames = list(reader)
    assert [index_of(frame.image) for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 10, atol=1e-6)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_colours_are_preserved(tmp_path):
    colours = np.array(
        [[250, 10, 10], [10, 250, 10], [10, 10, 250], [250, 250, 10], [128, 64, 200]], np.uint8
    )
    image = np.repeat(np.repeat(colours[None], 32, axis=0), 32, axis=1)
    [frame, *_] = frames_of(write(tmp_path / "out.mp4", [image] * 3))
    np.testing.assert_allclose(frame.image[16, 16::32].astype(int), colours, atol=4)


def test_odd_sizes_are_padded_by_repeating_the_last_row_and_column(tmp_path):
    image = np.zeros((61, 83, 3), np.uint8)
    image[-1], image[:, -1] = 255, 255
    [frame] = frames_of(write(tmp_path / "out.mp4", [image]))
    assert frame.image.shape == (62, 84, 3)
    assert frame.image[-2:, 10:-10].mean() > 230
    assert frame.image[10:-10, -2:].mean() > 230
    assert frame.image[:-6, :-6].mean() < 8


def test_times_of_a_varying_frame_rate_are_preserved(tmp_path):
    times = [0.25, 0.3, 0.9, 0.95, 2.5, 2.501]
    with VideoWriter(tmp_path / "out.mp4", fps=4, size=(160, 120)) as writer:
        for index, time in enumerate(times):
            writer.write(square(index), time)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        written = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
        assert float(stream.duration * stream.time_base) == pytest.approx(2.5 + 0.25 - 0.25, abs=0.01)
    np.testing.assert_allclose(written, times, atol=1e-4)


@pytest.mark.parametrize(("start", "suffix"), [(0.0, ".mp4"), (0.0, ".mkv"), (5.0, ".ts")])
def test_the_sound_is_copied_and_stays_in_sync(tmp_path, start, suffix):
    source = make_clip(tmp_path / f"source{suffix}", map(square, range(20)), tone="aac", start=start)
    with VideoReader(source) as reader:
        path = tmp_path / "out.mp4"
        with VideoWriter(path, fps=reader.fps, size=reader.size, audio_from=source) as writer:
            for frame in reader:
                writer.write(frame.image, frame.time)
    before, after = sound_of(source), sound_of(path)
    assert len(before) > 30
    if suffix != ".ts":  # there every packet has a header of its own, which mp4 does without
        assert [content for _, content in after] == [content for _, content in before]
    with av.open(str(source)) as container:
        pictures = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    ahead = [float(pictures[0]) - time for time, _ in before]
    with av.open(str(path)) as container:
        first = float(next(container.decode(video=0)).time)
    np.testing.assert_allclose([first - time for time, _ in after], ahead, atol=2e-3)
    times = [[frame.time for frame in frames_of(file)] for file in (source, path)]
    np.testing.assert_allclose(*times, atol=2e-3)


def test_sound_the_container_does_not_support_is_dropped_with_a_warning(tmp_path):
    source = make_clip(tmp_path / "source.mov", map(square, range(10)), tone="pcm_mulaw")
    with pytest.warns(VideoWarning, match=r"sound of .*source\.mov is left out: not supported by \.mp4"):
        path = write(tmp_path / "out.mp4", map(square, range(10)), audio_from=source)
    assert len(frames_of(path)) == 10
    with av.open(str(path)) as container:
        assert not container.streams.audio


def test_a_source_without_sound_gives_no_warning(tmp_path):
    source = make_clip(tmp_path / "source.mp4", map(square, range(3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(frames_of(write(tmp_path / "out.mp4", [square(0)], audio_from=source))) == 1


def test_damaged_sound_ends_with_a_warning(tmp_path):
    images = [square(i, size=(640, 480)) for i in range(60)]
    source = make_clip(tmp_path / "source.mp4", images, tone="aac", options={"movflags": "faststart"})
    with pytest.warns(VideoWarning, match=r"sound of .* is damaged or truncated: it ends after [1-5]\."):
        path = write(tmp_path / "out.mp4", images, audio_from=truncate(source, 0.6))
    assert len(frames_of(path)) == 60
    assert 1 < sound_of(path)[-1][0] < 5.5


def test_mpeg4_replaces_h264_if_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("av.codec.codecs_available", av.codec.codecs_available - {"libx264"})
    path = write(tmp_path / "out.mp4", map(square, range(12)))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    frames = frames_of(path)
    assert [index_of(frame.image) for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(12) / 10, atol=1e-4)


@pytest.mark.parametrize("present", [True, False])
def test_an_error_in_the_block_leaves_the_file_unchanged(tmp_path, present):
    path = tmp_path / "out.mp4"
    if present:
        path.write_bytes(b"before")
    with (  # noqa: PT012
        pytest.raises(RuntimeError, match="in the block"),
        VideoWriter(path, fps=10, size=(160, 120)) as writer,
    ):
        for index in range(60):
            writer.write(square(index))
        raise RuntimeError("in the block")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        ("out.mp4", b"before")
    ] * present


def test_ctrl_c_leaves_a_valid_file_of_the_frames_so_far(tmp_path):
    source = make_clip(tmp_path / "source.mp4", map(square, range(30)), tone="aac")
    path = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117
        with VideoWriter(path, fps=10, size=(160, 120), audio_from=source) as writer:
            for index in range(12):
                writer.write(square(index))
            raise KeyboardInterrupt
    assert [index_of(frame.image) for frame in frames_of(path)] == list(range(12))
    assert sound_of(path)[-1][0] == pytest.approx(1.2, abs=0.1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.mp4", "source.mp4"]


def test_a_block_without_frames_warns_and_writes_no_file(tmp_path):
    with (
        pytest.warns(VideoWarning, match="No frame was written"),
        VideoWriter(tmp_path / "out.mp4", fps=10, size=(160, 120)),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.webm", "out.gif"])
def test_unsupported_containers_are_refused(tmp_path, name):
    with (
        pytest.raises(VideoError, match=r"Cannot write .*out.*\.mp4"),
        VideoWriter(tmp_path / name, fps=10, size=(160, 120)),
    ):
        pytest.fail("entered")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_or_source_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere" / "out.mp4", [square(0)])
    with pytest.raises(VideoError, match=r"Cannot read the sound of .*missing\.mp4"):
        write(tmp_path / "out.mp4", [square(0)], audio_from=tmp_path / "missing.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": float("nan")}, {"size": (0, 5)}])
def test_numbers_out_of_range_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match="got"):
        VideoWriter(tmp_path / "out.mp4", **{"fps": 10, "size": (160, 120), **options})


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_equal_times_are_written_a_tick_apart(tmp_path, suffix):
    times = [0.0] * 5 + [0.00001] * 3 + [0.2, 0.2]
    with VideoWriter(tmp_path / f"out{suffix}", fps=10, size=(160, 120)) as writer:
        for index, time in enumerate(times):
            writer.write(square(index), time)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VideoWarning)  # .mkv rounds to milliseconds
        frames = frames_of(tmp_path / f"out{suffix}")
    assert [index_of(frame.image) for frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=0.009)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_joined_recordings_are_written_whole_with_their_sound(tmp_path, suffix):
    part = make_clip(tmp_path / "part.ts", map(square, range(20)), tone="aac")
    joined, out = tmp_path / "joined.ts", tmp_path / f"out{suffix}"
    joined.write_bytes(part.read_bytes() * 3)
    with pytest.warns(VideoWarning, match="at 2 of 60 frames"):
        frames = frames_of(joined)
    with VideoWriter(out, fps=10, size=(160, 120), audio_from=joined) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time)
    frames = frames_of(out)
    assert [index_of(frame.image) for frame in frames] == list(range(20)) * 3
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 0.1, atol=1.5e-3)
    sound = sound_of(out)
    header = 7  # bytes of an AAC packet in a transport stream alone
    assert [content for _, content in sound] == [content[header:] for _, content in sound_of(part)] * 3
    assert np.diff([time for time, _ in sound]).min() > 0
    assert sound[-1][0] == pytest.approx(6, abs=0.4)


def test_wrong_frames_and_times_are_refused(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", fps=10, size=(160, 120)) as writer:
        writer.write(square(0), 1.0)
        for image in (square(0)[:-1], square(0)[:, :, 0], square(0) / 255):
            with pytest.raises(ValueError, match=r"uint8 RGB of shape \(120, 160, 3\); got"):
                writer.write(image)
        for time in (-1, 0.5, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="do not decrease; got"):
                writer.write(square(0), time)
        writer.write(square(1))
    assert [frame.time for frame in frames_of(tmp_path / "out.mp4")] == pytest.approx([0, 0.1], abs=1e-4)


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as Unix does")
def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path):
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (60, 240, 320, 3), dtype=np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"Cannot write .*out\.mp4: .*too large"):
            write(tmp_path / "out.mp4", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
