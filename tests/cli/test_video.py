import json
import re
import signal
import sys
from io import StringIO

import av
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from fer_attention.cli import app
from fer_attention.cli import video as video_command
from fer_attention.video import VideoReader
from fer_attention.video import reader as video_reader
from fer_attention.video.source import open_file
from tests.support.forked import python
from tests.support.live import files_below, wait_for
from tests.support.videos import make_clip, set_display_matrix, sound_of, truncate


def run(*arguments):
    return CliRunner().invoke(app, ["video", *map(str, arguments)], env={"COLUMNS": "200"})


def slides(astronaut, count):
    """The astronaut's face slides over a grey ground, to and fro."""
    face = np.asarray(astronaut)[0:240, 130:310]
    for index in range(count):
        image = np.full((240, 320, 3), 90, np.uint8)
        left = 5 * abs((index + 14) % 28 - 14)
        image[:, left : left + 180] = face
        yield image


@pytest.fixture
def clip(astronaut, tmp_path):
    return make_clip(tmp_path / "in" / "clip.mp4", slides(astronaut, 8), tone="aac")


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "in").mkdir()


def test_a_clip_gives_a_video_a_record_and_a_table(clip, tmp_path):
    output, record = tmp_path / "out" / "o.mp4", tmp_path / "out" / "r.json"
    result = run(clip, "--output", output, "--json", record, "--every", "2", "--device", "cpu")
    assert result.exit_code == 0, result.output
    [row] = [line for line in result.stdout.splitlines() if "happy" in line]
    assert row.replace("│", " ").split()[:6] == ["0", "0.00", "s", "0.60", "s", "4"]
    content = json.loads(record.read_text())
    assert {name: content[name] for name in ("source", "width", "height", "fps")} == {
        "source": str(clip),
        "width": 320,
        "height": 240,
        "fps": 10.0,
    }
    assert "happy" in content["labels"]
    assert [(frame["frame"], frame["time"]) for frame in content["frames"]] == [
        (0, 0.0),
        (2, 0.2),
        (4, 0.4),
        (6, 0.6),
    ]
    for frame in content["frames"]:
        [face] = frame["faces"]
        assert (face["track"], face["emotion"]) == (0, "happy")
        assert set(face["probabilities"]) == set(content["labels"])
    with VideoReader(clip) as before, VideoReader(output) as after:
        pairs = list(zip(before, after, strict=True))
    assert len(pairs) == 8
    for one, other in pairs:
        assert other.time == pytest.approx(one.time, abs=1e-3)
        changed = np.abs(one.image.astype(int) - other.image).max(axis=2) > 60
        assert 200 < changed.sum() < 20_000
    assert [content for _, content in sound_of(output)] == [content for _, content in sound_of(clip)]
    assert len(list(output.parent.iterdir())) == 2


def test_damage_in_the_middle_keeps_the_frames_before_it(astronaut, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 240, 320, 3), dtype=np.uint8)
    clip = make_clip(tmp_path / "in" / "cut.mp4", noise, options={"movflags": "faststart"})
    truncate(clip, 0.6)
    output, record = tmp_path / "o.mp4", tmp_path / "r.json"
    result = run(clip, "--output", output, "--json", record, "--device", "cpu")
    assert result.exit_code == 1, result.output
    frames = json.loads(record.read_text())["frames"]
    assert 2 < len(frames) < 12
    assert f"from frame {len(frames)} on" in result.stderr
    assert f"The first {len(frames)} frames are saved" in result.stderr
    assert "none found" in result.stdout
    with VideoReader(output) as reader:
        assert len(list(reader)) == len(frames)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "add --output FILE.mp4, --json FILE or both"),
        (["--output", "in/clip.mp4"], "IN and --output are the same file"),
        (["--output", "in/../in/link.mp4"], "IN and --output are the same file"),
        (["--json", "in/clip.mp4"], "IN and --json are the same file"),
        (["--json", "x.mp4", "--output", "x.mp4"], "--output and --json are the same file"),
        (["--json", "r.json", "--every", "0"], "--every is at least 1"),
        (["--json", "r.json", "--smoothing", "-1"], "got -1"),
        (["--json", "r.json", "--detector", "mtcn"], "Did you mean 'mtcnn'"),
        (
            ["--json", "r.json", "--detector-weights", "w.pt"],
            "The detector 'mtcnn' takes no --detector-weights.",
        ),
        (["--json", "r.json", "--output", "o.xyz"], "Use .mp4"),
    ],
)
def test_wrong_options_fail_with_one_line_and_write_nothing(clip, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "link.mp4").symlink_to(clip)
    content = clip.read_bytes()
    result = run("in/clip.mp4", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert clip.read_bytes() == content
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_clip_of_a_turned_phone_is_recognised_and_written_upright(astronaut, tmp_path, turn):
    upright = list(slides(astronaut, 4))
    clip = make_clip(tmp_path / "in" / "phone.mp4", [np.rot90(image, turn // 90) for image in upright])
    set_display_matrix(clip, *{90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[turn])
    output, record = tmp_path / "o.mp4", tmp_path / "r.json"
    result = run(clip, "--output", output, "--json", record, "--device", "cpu")
    assert result.exit_code == 0, result.output
    content = json.loads(record.read_text())
    assert (content["width"], content["height"]) == (320, 240)
    assert [[face["emotion"] for face in frame["faces"]] for frame in content["frames"]] == [["happy"]] * 4
    with VideoReader(output) as reader:
        for frame, image in zip(reader, upright, strict=True):
            difference = np.abs(frame.image.astype(int) - image).max(axis=2)
            assert np.median(difference) < 12  # all but the marks
    with av.open(str(output)) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_a_clip_joined_from_parts_is_written_whole(astronaut, tmp_path):
    part = make_clip(tmp_path / "in" / "part.ts", slides(astronaut, 4), tone="aac")
    joined = tmp_path / "in" / "joined.ts"
    joined.write_bytes(part.read_bytes() * 2)
    output = tmp_path / "o.mp4"
    result = run(joined, "--output", output, "--every", "4", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("The clock of") == 1
    with VideoReader(output) as reader:
        assert len(list(reader)) == 8


def test_a_camera_shows_its_rate_and_faces_in_a_line(clip, tmp_path, monkeypatch):
    """The device is a file; what the terminal gets is read from a console that takes itself for one."""
    screen = StringIO()
    monkeypatch.setattr(video_reader, "open_camera", lambda number: open_file(clip))
    monkeypatch.setattr(video_command, "err", Console(file=screen, force_terminal=True, width=100))
    result = run("camera:0", "--json", tmp_path / "r.json", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert len(json.loads((tmp_path / "r.json").read_text())["frames"]) == 8
    assert re.search(r"frame 8, \d+\.\d frames/s, faces 1", screen.getvalue())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.mp4", "no such file"),
        ("http://a.org/b.mp4", "curl -O"),
        ("camera:x", "camera:0"),
        ("camera:4321", "camera 4321"),
    ],
)
def test_sources_that_cannot_be_read_are_named(tmp_path, source, message):
    result = run(source, "--json", tmp_path / "r.json")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "r.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT as Unix does")
@pytest.mark.slow
def test_ctrl_c_ends_early_with_two_proper_files(astronaut, tmp_path):
    clip = make_clip(tmp_path / "in" / "long.mp4", slides(astronaut, 400), tone="aac")
    output, record = tmp_path / "o.mp4", tmp_path / "r.json"
    command = ["-m", "fer_attention.cli", "video", clip, "--output", output, "--json", record]
    process = python(*command, "--device", "cpu", COLUMNS="200")
    records = ".r.*.json"  # under its temporary name
    wait_for(lambda: any(n for file, n in files_below(tmp_path).items() if file.match(records)), process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert "Interrupted" in stderr
    assert "Traceback" not in stderr
    assert "happy" in stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in", "o.mp4", "r.json"]
    frames = json.loads(record.read_text())["frames"]
    with VideoReader(output) as reader:
        pictures = [frame.index for frame in reader]
    assert frames
    assert abs(len(pictures) - len(frames)) <= 1  # Ctrl-C may come between the two
    assert sound_of(output)[-1][0] == pytest.approx(len(pictures) / 10, abs=0.3)
