"""`fer-attention evaluate`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_attention.cli import datasets
from fer_attention.cli.choices import choices
from fer_attention.cli.common import Device, counting, examples, make_parents, out, say, warn
from fer_attention.emotions import LABEL_SETS

if TYPE_CHECKING:
    from fer_attention.classifiers import Classifier
    from fer_attention.data import FaceDataset
    from fer_attention.evaluation import EvaluationReport

EXAMPLES = examples(
    "fer-attention evaluate resnetv2_18_eca_elu.fer2013 --data fer2013.zip",
    "fer-attention evaluate my_run/best.safetensors --data fer2013.zip --votes fer2013new.csv",
    "fer-attention evaluate model.onnx --data faces/ --degrade blur:2 --sample 1200 --html report.html",
    "fer-attention evaluate model.onnx --data fer2013.zip --corruptions --json corruptions.json",
)


def evaluate(
    weights: Annotated[str, typer.Argument(help="Bundled weights by name, a weights file or an .onnx file.")],
    data: Annotated[Path, typer.Option(help=datasets.DATA_HELP)],
    data_format: datasets.DataFormat = "auto",
    labels: datasets.Labels = None,
    votes: datasets.Votes = None,
    protocol: datasets.ProtocolName = None,
    fold: datasets.FoldNumber = None,
    split: Annotated[
        str | None, typer.Option(help="Split to measure on; by default private, else test.")
    ] = None,
    tta: Annotated[
        str, typer.Option(help=f"Test-time augmentation: {choices('evaluation.VIEWS')}.")
    ] = "none",
    emotions: Annotated[
        str | None,
        typer.Option(
            help=f"Labels to answer with: {', '.join(LABEL_SETS)} or all; by default those of the data, too."
        ),
    ] = None,
    degrade: Annotated[
        list[str] | None,
        typer.Option(help=f"NAME:STRENGTH, applied to the images first: {choices('data.DEGRADATIONS')}."),
    ] = None,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions", help="Measure on eleven kinds of corruption at five severities instead."
        ),
    ] = False,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Number of images drawn at random; by default all.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of --sample, --degrade and --corruptions.")
    ] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the numbers.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="File for a report in HTML.")] = None,
    drop_unknown_labels: Annotated[
        bool, typer.Option("--drop-unknown-labels", help="Skip images whose label is no known emotion.")
    ] = False,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Measure on images that the model has seen, too.")
    ] = False,
    on_error: datasets.OnError = "raise",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass.")] = 256,
    device: Device = "auto",
) -> None:
    """Measure a weights file on labelled faces: accuracy with its interval, class by class, calibration.

    Data without splits is divided as it was for training, and the test images of that fold are measured.
    Images that trained the model or selected its epoch are left out; a warning counts them. With --votes, the
    agreement with ten voters is measured, too.
    --corruptions gives accuracies on FER2013-C, 56 passes over the split; an exported model is fastest.
    """
    from fer_attention.classifiers import load_classifier
    from fer_attention.data.degradations import parse_degradation
    from fer_attention.data.loading import resolve_format
    from fer_attention.data.origin import check_split
    from fer_attention.data.protocols import check_protocol
    from fer_attention.evaluation import VIEWS, EvaluationReport
    from fer_attention.evaluation import evaluate as measure
    from fer_attention.evaluation.answers import ALL_LABELS, label_set
    from fer_attention.evaluation.report import check_libraries
    from fer_attention.models.bundled import weights_path

    if corruptions and (html_file is not None or degrade or tta != "none"):
        raise ValueError(
            "--corruptions goes with neither --html, --degrade nor --tta; --json has its numbers."
        )
    make_parents(json_file, html_file)
    check_libraries(html=html_file is not None)
    VIEWS[tta]
    if emotions not in (None, ALL_LABELS):
        label_set(str(emotions))
    degradations = [parse_degradation(text) for text in degrade or []]
    classifier = load_classifier(weights, device=device)
    division = datasets.division_for(classifier, protocol, fold)
    if protocol is not None:
        check_protocol(protocol, fold or 0, **datasets.fold_options(protocol, division))
    if votes is not None and not votes.exists():
        raise ValueError(f"{votes} does not exist.")
    data_format = resolve_format(data, data_format)  # once: it lists, or even unpacks, the data
    if split is not None:
        check_split(split, data_format, divided=protocol is not None or fold is not None)
    crops = datasets.read_for(classifier, data, data_format, on_error, labels, votes)
    if protocol is not None or fold is not None:
        crops = datasets.divide(crops, protocol, fold, division)
    if corruptions:
        options = {"emotions": emotions, "drop_unknown": drop_unknown_labels, "sample": sample, "seed": seed}
        options |= {"allow_seen": allow_seen}
        _corruptions(classifier, crops, weights, json_file, split=split, batch_size=batch_size, **options)
        return
    found = measure(
        classifier,
        crops,
        split=split,
        tta=tta,
        emotions=emotions,
        drop_unknown=drop_unknown_labels,
        degradations=degradations,
        sample=sample,
        seed=seed,
        batch_size=batch_size,
        allow_seen=allow_seen,
    )
    report = EvaluationReport.of(
        found, classifier, weights=weights_path(weights).name, data=data.resolve().name
    )
    if json_file is not None:
        report.write_json(json_file)
    if html_file is not None:
        report.write_html(html_file)
    _print(report)


def _corruptions(
    classifier: Classifier, crops: FaceDataset, weights: str, json_file: Path | None, **options: Any
) -> None:
    """Measure on FER2013-C, and print and write the numbers."""
    import json

    from fer_attention.atomic import write_atomically
    from fer_attention.evaluation import evaluate_corruptions
    from fer_attention.evaluation.tables import corruption_table
    from fer_attention.models.bundled import weights_path

    with counting("measuring") as on_progress:
        found = evaluate_corruptions(classifier, crops, on_progress=on_progress, **options)
    name = weights_path(weights).name
    if json_file is not None:
        write_atomically(json_file, json.dumps({"weights": name, **found.to_dict()}, indent=1).encode())
    for truth in found.truths:
        out.print(corruption_table(found, truth, f"{name}, accuracy in %, {truth}"))
    say(f"Split {found.split}, {found.n} images, seed {found.seed}.")
    _remark(found.notes, found.warnings)


def _print(report: EvaluationReport) -> None:
    from fer_attention.evaluation.tables import accuracy_table, class_table, crowd_table, doubt_table

    out.print(accuracy_table(report))
    for name, crowd in report.crowd.items():
        out.print(crowd_table(name, crowd))
        say(crowd.summary)
    for name, doubts in report.doubt.items():
        out.print(doubt_table(name, doubts))
    for name, metrics in report.results.items():
        out.print(class_table(name, metrics))
    say(
        "Intervals are Wilson's. ECE: expected calibration error in 15 bins. Covered: the truth is among the "
        "candidates. Sure: one candidate. AURC: area under the risk-coverage curve."
    )
    if report.calibration.truth is None:
        say(
            "The model is not calibrated: its candidates are the fewest emotions that have 90 % of the "
            "probability together. Fit them with fer-attention calibrate."
        )
    _remark(report.remarks, report.warnings)


def _remark(remarks: Iterable[str], warnings: Collection[str]) -> None:
    for remark in remarks:
        if remark not in warnings:
            say(remark)
    for warning in warnings:
        warn(warning)
