"""`fer-attention explain`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_attention.atomic import write_atomically
from fer_attention.cli.choices import DEFAULT_WEIGHTS, choices
from fer_attention.cli.common import Device, examples, fail, make_parents, say
from fer_attention.cli.detectors import DetectorName, DetectorWeights, MinScore, detector_options

if TYPE_CHECKING:
    from fer_attention.explain import Explanation

MOST = 8

EXAMPLES = examples("fer-attention explain --sample", "fer-attention explain photo.jpg --output panel.png")


def explain(
    photo: Annotated[Path | None, typer.Argument(help="The photo.", show_default=False)] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="The photo that comes with the package (NASA, public domain).")
    ] = False,
    output: Annotated[Path, typer.Option(help="The panel, a .png file.")] = Path("explanation.png"),
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Bundled weights by name, or a weights file; several are compared on one face."),
    ] = None,
    face: Annotated[
        int | None, typer.Option(help="Number of the face to show; 1 is the largest.", min=1)
    ] = None,
    target: Annotated[str | None, typer.Option(help="Emotion to explain; by default the answer.")] = None,
    method: Annotated[
        str, typer.Option(help=f"Class activation map: {choices('explain.grad_cam.CLASSES')}.")
    ] = "layercam",
    layer: Annotated[str | None, typer.Option(help="Layer of the map; by default the method's.")] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Also draw the weights of the attention blocks, by stage.")
    ] = False,
    detector: DetectorName = "mtcnn",
    detector_weights: DetectorWeights = None,
    min_score: MinScore = None,
    device: Device = "auto",
) -> None:
    """Show what the network saw, used and answered for each face, with a legend.

    Several --weights are compared on one face: the largest, or --face. The exit code is 1 if the photo has no
    face.
    """
    from fer_attention.explain import explain_faces, explanation_panel
    from fer_attention.explain.faces import explainable_model
    from fer_attention.explain.grad_cam import check_method
    from fer_attention.faces import create_detector, load_image
    from fer_attention.recognizer import EmotionRecognizer
    from fer_attention.rendering.figures import png_file
    from fer_attention.samples import sample_photo

    if (photo is None) is not sample:
        raise ValueError("Name one photo, or add --sample for the photo of the package.")
    photo = photo or sample_photo()
    chosen = check_method(method)
    _png(output, photo)
    names = weights or [DEFAULT_WEIGHTS]
    finder = create_detector(detector, device=device, **detector_options(detector_weights, min_score))
    recognizers = [EmotionRecognizer.from_pretrained(w, detector=finder, device=device) for w in names]
    for recognizer in recognizers:
        explainable_model(recognizer)  # before the photo is searched
    image = load_image(photo)
    number = face if face is not None or len(names) == 1 else 1
    found = [
        explain_faces(r, image, target=target, method=chosen, layer=layer, limit=number) for r in recognizers
    ]
    faces = len(found[0])
    if not faces:
        fail(f"No face found in {photo}: try another --detector, or --detector none for a crop as it is.")
        raise typer.Exit(1)
    if number is not None and number > faces:
        raise ValueError(f"--face {number}: {photo} has {faces} face{'s' if faces > 1 else ''}.")
    rows = found[0][:MOST] if number is None else [explained[number - 1] for explained in found]
    if len({row.model for row in rows}) < len(names):  # several weights of one architecture
        rows = [replace(row, model=name) for row, name in zip(rows, names, strict=True)]
    make_parents(output)
    write_atomically(output, png_file(explanation_panel(image, rows, attention=attention)))
    for row, explanation in enumerate(rows, start=number or 1):
        name = explanation.model if len(names) > 1 else f"face {row}"
        say(f"{name}: {_answer(explanation)}")
    if number is None and faces > len(rows):
        say(f"The {MOST} largest of {faces} faces; --face N shows another.")
    say(str(output))


def _png(output: Path, photo: Path) -> None:
    if output.suffix.lower() != ".png":
        name = output.with_suffix(".png")
        raise ValueError(f"The panel is a PNG file; got --output {output}. Name it {name}.")
    if output.exists() and output.resolve() == photo.resolve():
        raise ValueError(f"--output {output} is the photo itself; name another file.")


def _answer(explanation: Explanation) -> str:
    prediction = explanation.prediction
    explained = "" if explanation.target == prediction.emotion else f", explained for {explanation.target}"
    return f"{prediction.caption}{explained}"
