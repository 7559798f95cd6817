"""What an exported file says of itself: the same JSON as a weights file, under the same names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import fer_attention
from fer_attention.data import Preprocessing
from fer_attention.export.check import ExportError
from fer_attention.models import FERModel, ModelSpec

FORMAT = "fer_attention/export/1"


@dataclass(frozen=True)
class Facts:
    """Structure, labels and preprocessing of an exported model.

    Attributes:
        spec: The model's structure.
        labels: Class names in the order of the logits.
        preprocessing: How a face becomes a crop.
        version: The version of this library that wrote the file.
        extra: What else the file was given, such as how it was quantised; as text.
    """

    spec: ModelSpec
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    version: str
    extra: Mapping[str, str]

    @classmethod
    def of(cls, model: FERModel) -> Facts:
        """The facts of a model.

        Raises:
            ExportError: It does not know its labels or its preprocessing, or has no weights.
        """
        if model.labels is None or len(model.labels) != model.num_classes or model.preprocessing is None:
            raise ExportError(
                f"The model has {model.num_classes} outputs, labels={model.labels} and preprocessing="
                f"{model.preprocessing}; an exported file needs both: set them."
            )
        if model.preprocessing.channels != model.in_chans:
            raise ExportError(
                f"The model takes {model.in_chans} channels, its preprocessing gives "
                f"{model.preprocessing.channels}; set model.preprocessing to what the model takes."
            )
        if any(tensor.is_meta for tensor in model.state_dict().values()):
            raise ExportError("The model is on the meta device: it has shapes, but no weights to export.")
        return cls(model.spec, model.labels, model.preprocessing, fer_attention.__version__, {})

    def to_metadata(self) -> dict[str, str]:
        """Text by name, as formats keep it."""
        return {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "labels": json.dumps(self.labels),
            "preprocessing": self.preprocessing.to_json(),
            "fer_attention": self.version,
            **self.extra,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: str | os.PathLike[str]) -> Facts:
        """What `to_metadata` wrote.

        Raises:
            ExportError: The file is not one of ours, or what it says cannot be used.
        """
        if metadata.get("format") != FORMAT:
            raise ExportError(
                f"{path} says nothing of its labels and its preprocessing: its format is "
                f"{metadata.get('format')!r}, expected {FORMAT!r}. Files of export_onnx() and "
                "`fer-attention export` say both."
            )
        known = ("format", "spec", "labels", "preprocessing", "fer_attention")
        try:
            labels = json.loads(metadata["labels"])
            facts = cls(
                ModelSpec.from_json(metadata["spec"]),
                tuple(labels),
                Preprocessing.from_json(metadata["preprocessing"]),
                metadata["fer_attention"],
                {name: text for name, text in metadata.items() if name not in known},
            )
        except Exception as error:  # whatever a damaged file provokes
            raise ExportError(
                f"{path}: its metadata cannot be used: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ExportError(f"{path}: its labels are no list of names: {labels!r}.")
        return facts
