"""`fer-attention video`."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TextColumn
from rich.table import Column, Table

from fer_attention.atomic import replacing
from fer_attention.cli.choices import DEFAULT_WEIGHTS
from fer_attention.cli.common import Device, err, examples, fail, make_parents, out, progress, warn
from fer_attention.cli.detectors import DetectorName, DetectorWeights, MinScore, WeightsName, load_recognizer

if TYPE_CHECKING:
    from fer_attention.video import FrameResult, TrackSummaries

_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


EXAMPLES = examples(
    "fer-attention video clip.mp4 --output marked.mp4 --json clip.json",
    "fer-attention video camera:0 --json clip.json --every 3",
)


def video(
    source: Annotated[str, typer.Argument(help="A video file, or camera:0.", metavar="IN")],
    output: Annotated[
        Path | None, typer.Option(help="File for the annotated video, such as out.mp4.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all results.")] = None,
    weights: WeightsName = DEFAULT_WEIGHTS,
    detector: DetectorName = "mtcnn",
    detector_weights: DetectorWeights = None,
    min_score: MinScore = None,
    device: Device = "auto",
    every: Annotated[int, typer.Option(help="Analyse every N-th frame only.", metavar="N")] = 1,
    smoothing: Annotated[
        float,
        typer.Option(help="Time constant of the averaging over time; 0 turns it off.", metavar="SECONDS"),
    ] = 0.5,
    batch_size: Annotated[int, typer.Option(help="Number of frames analysed together.")] = 8,
) -> None:
    """Recognise the expressions of all faces in a video and follow them through it.

    Ctrl-C ends the run early: the files then hold the frames so far, and the exit code is 130. From a damaged
    video, the frames before the damage are written, and the exit code is 1. With a camera, a line shows the
    frames per second and the number of faces.
    """
    from fer_attention.video import TrackSummaries, VideoError, VideoReader, VideoWriter, recognize_video

    code = done = 0
    position = _position(source)
    _check_files(position, output, json_file)
    tracks = TrackSummaries()
    with VideoReader(position) as reader, ExitStack() as files:
        recognizer = load_recognizer(weights, detector, detector_weights, min_score, device)
        results = recognize_video(recognizer, reader, every=every, smoothing=smoothing, batch_size=batch_size)
        writer = add_record = None
        if output is not None:
            sound = position if isinstance(position, Path) else None
            writer = files.enter_context(
                VideoWriter(output, fps=reader.fps, size=reader.size, audio_from=sound)
            )
        if json_file is not None:
            head = {"source": source, "width": reader.size[0], "height": reader.size[1]}
            head |= {"fps": round(reader.fps, 3), "labels": list(recognizer.labels)}
            add_record = files.enter_context(_json_frames(json_file, head))
        try:
            for result in (
                _live_line(results) if reader.live else progress(results, "recognising", reader.frames)
            ):
                if writer is not None:
                    writer.write(result.marked(), result.frame.time)
                if result.analysed and add_record is not None:
                    add_record(result.to_dict())
                tracks.add(result)
                done += 1
        except KeyboardInterrupt:
            code = _INTERRUPTED
            warn(f"Interrupted: the first {done} frames are saved.")
        except VideoError as error:
            code = 1
            fail(f"{error} The first {done} frames are saved.")
        if code and writer is not None:
            writer.stop_sound()
    out.print(_table(tracks))
    if code:
        raise typer.Exit(code)


def _live_line(results: Iterable[FrameResult]) -> Iterator[FrameResult]:
    """Show rate and faces in a line that is updated, on terminals, while the results are consumed."""
    times: deque[float] = deque(maxlen=30)  # of the last frames
    with Progress(
        TextColumn("{task.description}"), console=err, transient=True, disable=not err.is_terminal
    ) as bar:
        task = bar.add_task("waiting for the camera", total=None)
        for count, result in enumerate(results, start=1):
            times.append(monotonic())
            rate = (len(times) - 1) / max(times[-1] - times[0], 1e-6)
            bar.update(task, description=f"frame {count}, {rate:.1f} frames/s, faces {len(result.faces)}")
            yield result


def _position(source: str) -> Path | int:
    """Return the path of a video, or the number of a camera."""
    if not source.startswith("camera:"):
        return Path(source)
    number = source.removeprefix("camera:")
    if not number.isdecimal():
        raise ValueError(f"A camera has a number, for instance camera:0; got {source!r}.")
    return int(number)


def _check_files(position: Path | int, output: Path | None, json_file: Path | None) -> None:
    if output is None and json_file is None:
        raise ValueError("Nothing to do: add --output FILE.mp4, --json FILE or both.")
    given = {"IN": position if isinstance(position, Path) else None, "--output": output, "--json": json_file}
    files = {name: path for name, path in given.items() if path is not None}
    for (one, first), (two, second) in combinations(files.items(), 2):
        same = first.resolve() == second.resolve()
        if same or (first.exists() and second.exists() and first.samefile(second)):
            raise ValueError(f"{one} and {two} are the same file, {second}. Choose another name.")
    make_parents(output, json_file)


@contextmanager
def _json_frames(path: Path, head: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write a JSON object of `head` and "frames", a list to which the yielded function adds."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, indent=1).removesuffix("\n}") + ',\n "frames": [')
        separator = "\n  "

        def add(record: dict[str, Any]) -> None:
            nonlocal separator
            file.write(separator + json.dumps(record))
            separator = ",\n  "

        yield add
        file.write("\n ]\n}\n")


def _table(tracks: TrackSummaries) -> Table:
    """Build a table of the tracks with their times and the most probable emotion on average.

    The last row counts faces that were seen in one frame only.
    """
    headings = ("track", "from", "to", "frames", "emotion", "probability")
    table = Table(*(Column(heading, no_wrap=True) for heading in headings))
    lasting = tracks.lasting
    for number, person in lasting.items():
        mean = person.mean
        times = f"{person.first:.2f} s", f"{person.last:.2f} s"
        table.add_row(str(number), *times, str(person.frames), mean.answer, f"{mean.probability:.0%}")
    if not tracks:
        table.add_row("none found")
    if passing := len(tracks) - len(lasting):
        table.add_row(f"{passing} more", "", "", "1", "", "")
    return table
