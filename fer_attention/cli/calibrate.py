"""`fer-attention calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_attention.cli import datasets
from fer_attention.cli.common import Device, examples, make_parents, say

EXAMPLES = examples(
    "fer-attention calibrate my_run/best.safetensors --data fer2013.zip",
    "fer-attention calibrate my_run/best.safetensors --data fer2013.zip --votes fer2013new.csv",
    "fer-attention calibrate resnetv2_18_eca_elu.fer2013 --data faces/ --split all --output mine.safetensors",
)
_TRUTHS = {"votes": "the emotion with the most votes", "labels": "the data's label"}


def calibrate(
    weights: Annotated[str, typer.Argument(help="A weights file, or bundled weights by name.")],
    data: Annotated[Path, typer.Option(help=datasets.DATA_HELP)],
    output: Annotated[
        Path | None, typer.Option(help="The new weights file; by default WEIGHTS is replaced.")
    ] = None,
    data_format: datasets.DataFormat = "auto",
    labels: datasets.Labels = None,
    votes: datasets.Votes = None,
    protocol: datasets.ProtocolName = None,
    fold: datasets.FoldNumber = None,
    split: Annotated[
        str | None, typer.Option(help="Split to fit on; by default validation or public.")
    ] = None,
    coverage: Annotated[
        float, typer.Option(help="Share of faces whose right emotion shall be among the candidates.")
    ] = 0.9,
    drop_unknown_labels: Annotated[
        bool, typer.Option("--drop-unknown-labels", help="Skip images whose label is no known emotion.")
    ] = False,
    on_error: datasets.OnError = "raise",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass.")] = 256,
    device: Device = "auto",
) -> None:
    """Fit probabilities and candidates to labelled faces that a model was not trained on.

    A temperature makes the probabilities as high as the answers are right; a threshold decides which emotions
    are candidates, so that nine of ten faces have the right one among them. Both are stored in the weights
    file, whose weights do not change. With --votes, they are fitted to what people voted. Data without splits
    is divided as it was for training.
    """
    from fer_attention.classifiers import load_classifier
    from fer_attention.data.loading import resolve_format
    from fer_attention.evaluation import calibrate as fit
    from fer_attention.models.bundled import weights_path
    from fer_attention.models.weights import update_record

    if weights.endswith(".onnx"):
        raise ValueError(f"{weights} is an exported file. Calibrate the weights file, then export it again.")
    path = weights_path(weights)
    if output is None and str(path) != weights:
        raise ValueError(f"{weights} is part of the package. Name a file for the new weights with --output.")
    make_parents(output)
    classifier = load_classifier(path, device=device)
    division = datasets.division_for(classifier, protocol, fold)
    data_format = resolve_format(data, data_format)
    crops = datasets.read_for(classifier, data, data_format, on_error, labels, votes)
    if protocol is not None or fold is not None:
        crops = datasets.divide(crops, protocol, fold, division)
    found = fit(
        classifier,
        crops,
        split=split,
        coverage=coverage,
        drop_unknown=drop_unknown_labels,
        batch_size=batch_size,
    )
    written = update_record(path, found.to_record(), output=output)
    say(f"Fitted on {found.n:,} faces of the split {found.split}: temperature {found.temperature:.3f}.")
    say(
        f"An answer is sure if its probability is above {found.threshold:.1%}. Of new faces that are like "
        f"these, {found.coverage:.0%} have {_TRUTHS[str(found.truth)]} among the candidates."
    )
    say(str(written))
