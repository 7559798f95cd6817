"""Metadata of model files: structure, labels, preprocessing and origin, checked in one place."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fer_attention.bounded import bounded, cut
from fer_attention.calibration import Calibration
from fer_attention.models.spec import ModelSpec
from fer_attention.preprocessing import Preprocessing

if TYPE_CHECKING:
    from fer_attention.models.base import FERModel

FORMAT = "fer_attention/1"


class WeightsError(ValueError):
    """A model file is missing, damaged or of another library, or a model cannot be saved.

    >>> from fer_attention.models import load_weights
    >>> load_weights("missing.safetensors")
    Traceback (most recent call last):
    fer_attention.models.metadata.WeightsError: missing.safetensors is not a file.
    """


@dataclass(frozen=True)
class ModelMetadata:
    """Everything about a model but its weights, as stored in weights files, ONNX files and programs.

    >>> from fer_attention.models import create_model
    >>> ModelMetadata.of(create_model("resnet18", width=0.25)).labels[:2]
    ('angry', 'disgust')

    Attributes:
        spec: Structure of the model.
        labels: Class names in the order of the logits.
        preprocessing: How a face becomes the input.
        record: Origin of the weights, JSON-serialisable, and their calibration.

    Raises:
        WeightsError: Spec, labels and preprocessing contradict each other, or the calibration is damaged.
    """

    spec: ModelSpec
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.labels) != self.spec.num_classes:
            raise WeightsError(f"{self.spec.num_classes} outputs, but {len(self.labels)} labels.")
        if twice := [label for label, count in Counter(self.labels).items() if count > 1]:
            raise WeightsError(f"The label {bounded(twice[0])} is given twice.")
        if odd := [one for one in self.labels if not one.strip() or len(one) > 100 or not one.isprintable()]:
            raise WeightsError(f"A label is a name of at most 100 characters; got {bounded(odd[0])}.")
        if self.preprocessing.channels != self.spec.in_chans:
            raise WeightsError(
                f"The model takes {self.spec.in_chans} channels, its preprocessing gives "
                f"{self.preprocessing.channels}."
            )
        if self.spec.head == "fc" and self.preprocessing.size != self.spec.input_size[1:]:
            raise WeightsError(
                f"The model's fully connected head takes faces of {self.spec.input_size[1:]} pixels, its "
                f"preprocessing gives {self.preprocessing.size}."
            )
        try:
            _ = self.calibration
        except ValueError as error:
            raise WeightsError(str(error)) from error

    @property
    def calibration(self) -> Calibration:
        """Temperature and rule for the candidates, from the record."""
        return Calibration.from_record(self.record)

    @classmethod
    def of(cls, model: FERModel, record: Mapping[str, Any] | None = None) -> ModelMetadata:
        """Collect the metadata of a model, by default with its own record.

        Raises:
            WeightsError: The model lacks labels, preprocessing or weights, or they contradict each other.
        """
        if model.labels is None:
            raise WeightsError(f"No labels: set model.labels to the names of {model.num_classes} classes.")
        if model.preprocessing is None:
            raise WeightsError(
                f"The model lacks preprocessing: set model.preprocessing, of {model.in_chans} channels."
            )
        if any(tensor.is_meta for tensor in model.state_dict().values()):
            raise WeightsError("The model is on the meta device: it has shapes, but no weights to write.")
        record = dict(model.record if record is None else record)
        return cls(model.spec, tuple(model.labels), model.preprocessing, record)

    def to_strings(self) -> dict[str, str]:
        """Return each part as a JSON string by name, as file formats store metadata."""
        return {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "labels": json.dumps(self.labels),
            "preprocessing": self.preprocessing.to_json(),
            "record": json.dumps(dict(self.record)),
        }

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], path: str | os.PathLike[str]) -> ModelMetadata:
        """Read the metadata that `to_strings` wrote into the file `path`.

        Raises:
            WeightsError: The file is not from this library, or its metadata is damaged.
        """
        if (found := strings.get("format")) != FORMAT:
            named = bounded(found) if found else "not given"
            raise WeightsError(
                f"{path} is not a model file of this library: its format is {named}, expected {FORMAT!r}. "
                "Files of save_weights() and export_onnx() carry labels and preprocessing; for ImageNet "
                "weights see build_model(backbone_weights=...)."
            )
        try:
            labels = json.loads(strings["labels"])
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise WeightsError(f"its labels are not a list of names: {bounded(labels)}")
            return cls(
                ModelSpec.from_json(strings["spec"]),
                tuple(labels),
                Preprocessing.from_json(strings["preprocessing"]),
                dict(json.loads(strings.get("record", "{}"))),
            )
        except WeightsError as error:
            raise WeightsError(f"{path}: {cut(str(error), 300)}") from error
        except Exception as error:  # a damaged file can cause any
            reason = cut(f"{type(error).__name__}: {error}", 300)
            raise WeightsError(f"{path}: its metadata cannot be used: {reason}") from error
