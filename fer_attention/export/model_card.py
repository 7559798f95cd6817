"""A model card for the Hub, from what the weights file and its evaluations say and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fer_attention.data.seen import without_digests
from fer_attention.models import FERModel

LICENCE = "apache-2.0"

HEAD = """---
license: {licence}
library_name: fer_attention
pipeline_tag: image-classification
tags:
- image-classification
- facial-expression-recognition
- timm
---
# {name}

Recognises perceived facial expressions: one of {labels}.

| | |
| --- | --- |
| structure | `{spec}`, {parameters:,} parameters |
| input | {colour} face crops, {height}×{width} pixels, {interpolation}, mean {mean}, std {std} |
| crop | {crop} |
| output | logits, in this order: {labels} |
"""

USE = """
## Use

```
from fer_attention import EmotionRecognizer

recognizer = EmotionRecognizer.from_pretrained("hf-hub:USER/{name}")
print(recognizer.predict("photo.jpg"))
```

`fer_attention.export.load_from_hub("USER/{name}")` gives the model alone.
"""

TIMM = """
With timm, after `import fer_attention`: `timm.create_model("hf-hub:USER/{name}", pretrained=True)`.
"""

LIMITS = """
## Intended use and limits

Research on models and data, teaching, and tools that people apply to their own pictures.

A label is a perceived expression, not a felt emotion: the network was trained on what annotators saw. It
shares the limits of its data: wrong labels, unbalanced classes, and groups of people that are not
represented; fairness across groups has not been measured. Expect less than the reported accuracy on other
photos. Do not use it to judge, hire, grade, watch, score or police people. In the European Union, Regulation
(EU) 2024/1689, article 5(1)(f), prohibits inferring emotions at work and in education, with few exceptions.
"""


def model_card(
    model: FERModel,
    *,
    name: str,
    record: Mapping[str, Any],
    reports: Sequence[Mapping[str, Any]],
    licence: str = LICENCE,
    in_timm: bool = True,
) -> str:
    """The card's text, Markdown under the YAML that the Hub reads.

    Args:
        model: A model with labels and preprocessing.
        name: What it is called.
        record: What the weights file says of its origin.
        reports: Evaluations, each `EvaluationReport.to_dict()`.
        licence: Of the weights.
        in_timm: Whether timm can build the model by its name.

    Raises:
        ValueError: The model lacks labels or preprocessing, or a report is of other labels.
    """
    labels, preprocessing = model.labels, model.preprocessing
    if labels is None or preprocessing is None:
        raise ValueError("A card needs the model's labels and preprocessing.")
    rule = preprocessing.crop_rule
    height, width = preprocessing.size
    head = HEAD.format(
        licence=licence,
        name=name,
        labels=", ".join(labels),
        spec=model.spec.name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        colour="grey" if preprocessing.channels == 1 else "RGB",
        height=height,
        width=width,
        mean=_numbers(preprocessing.mean),
        std=_numbers(preprocessing.std),
        interpolation=preprocessing.interpolation,
        crop=f"{rule.shape}, scale {rule.scale:g} of the box's {rule.reference}, border {rule.border}",
    )
    use = USE.format(name=name) + (TIMM.format(name=name) if in_timm else "")
    return head + use + _accuracy(labels, reports) + _training(record) + LIMITS


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _accuracy(labels: Sequence[str], reports: Sequence[Mapping[str, Any]]) -> str:
    if not reports:
        return "\n## Accuracy\n\nNo evaluation came with these weights.\n"
    rows = [
        "\n## Accuracy\n\nIntervals are Wilson's at 95 %.\n",
        "| data | split | images | views | n | accuracy | 95 % interval | balanced |",
        "| --- | --- | --- | --- | ---: | ---: | --- | ---: |",
    ]
    for report in reports:
        if list(report["labels"]) != list(labels):
            raise ValueError(f"A report is of the labels {report['labels']}, the model's are {list(labels)}.")
        for images, numbers in report["results"].items():
            low, high = numbers["interval_95"]
            rows.append(
                f"| {report['data']} | {report['split']} | {images} | {report['tta']} | {numbers['n']} | "
                f"{numbers['accuracy'] * 100:.2f} % | {low * 100:.2f} to {high * 100:.2f} % | "
                f"{numbers['balanced_accuracy'] * 100:.2f} % |"
            )
    notes = [str(note) for report in reports for note in report.get("notes", ())]
    return "\n".join(rows) + "\n" + "".join(f"\n{note}\n" for note in dict.fromkeys(notes))


def _training(record: Mapping[str, Any]) -> str:
    if not record:
        return "\n## Training\n\nThe weights file says nothing of its origin.\n"
    text = json.dumps(without_digests(record), indent=2, ensure_ascii=False)
    selected = ""
    if "selected_on" in record and "selection_accuracy" in record:
        selected = (
            f"The epoch was chosen by the accuracy on the split `{record['selected_on']}`, "
            f"{record['selection_accuracy'] * 100:.2f} %: an optimistic number, as the best of many.\n\n"
        )
    return f"\n## Training\n\n{selected}What the weights file says of its origin:\n\n```json\n{text}\n```\n"
