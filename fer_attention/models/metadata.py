"""The metadata of every model file: structure, labels, preprocessing and origin, checked in one place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fer_attention.models.spec import ModelSpec
from fer_attention.preprocessing import Preprocessing

if TYPE_CHECKING:
    from fer_attention.models.base import FERModel

FORMAT = "fer_attention/1"


class WeightsError(ValueError):
    """A model file that is absent, damaged, foreign or does not fit, or a model that cannot be saved."""


@dataclass(frozen=True)
class ModelMetadata:
    """Everything but the weights: what a weights file, an ONNX file and a program say of themselves.

    Attributes:
        spec: Structure of the model.
        labels: Class names in the order of the logits.
        preprocessing: How a face becomes the input.
        record: Origin of the weights, anything that JSON can hold.

    Raises:
        WeightsError: The three do not fit each other.
    """

    spec: ModelSpec
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.labels) != self.spec.num_classes:
            raise WeightsError(f"{len(self.labels)} labels for {self.spec.num_classes} outputs.")
        if self.preprocessing.channels != self.spec.in_chans:
            raise WeightsError(
                f"The model takes {self.spec.in_chans} channels, its preprocessing gives "
                f"{self.preprocessing.channels}."
            )

    @classmethod
    def of(cls, model: FERModel, record: Mapping[str, Any] | None = None) -> ModelMetadata:
        """Collect the metadata of a model that is about to be written, by default with its own record.

        Raises:
            WeightsError: The model lacks labels, preprocessing or weights, or they do not fit each other.
        """
        if model.labels is None or len(model.labels) != model.num_classes:
            raise WeightsError(
                f"The model has {model.num_classes} outputs and labels={model.labels}; set model.labels to "
                "their names."
            )
        if model.preprocessing is None or model.preprocessing.channels != model.in_chans:
            raise WeightsError(
                f"The model takes {model.in_chans} channels, its preprocessing is {model.preprocessing}; set "
                "model.preprocessing to how a crop becomes its input."
            )
        if any(tensor.is_meta for tensor in model.state_dict().values()):
            raise WeightsError("The model is on the meta device: it has shapes, but no weights to write.")
        record = dict(model.record if record is None else record)
        return cls(model.spec, tuple(model.labels), model.preprocessing, record)

    def to_strings(self) -> dict[str, str]:
        """JSON by name, as file formats keep it."""
        return {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "labels": json.dumps(self.labels),
            "preprocessing": self.preprocessing.to_json(),
            "record": json.dumps(dict(self.record)),
        }

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], path: str | os.PathLike[str]) -> ModelMetadata:
        """Read what `to_strings` wrote into a file, which messages call `path`.

        Raises:
            WeightsError: The file is not one of ours, or its metadata is damaged.
        """
        if strings.get("format") != FORMAT:
            raise WeightsError(
                f"{path} is not a model file of this library: its format is {strings.get('format')!r}, "
                f"expected {FORMAT!r}. Files of save_weights() and export_onnx() carry labels and "
                "preprocessing; for plain ImageNet weights see build_model(backbone_weights=...)."
            )
        try:
            labels = json.loads(strings["labels"])
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise WeightsError(f"its labels are not a list of names: {labels!r}")
            return cls(
                ModelSpec.from_json(strings["spec"]),
                tuple(labels),
                Preprocessing.from_json(strings["preprocessing"]),
                dict(json.loads(strings.get("record", "{}"))),
            )
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
        except Exception as error:  # whatever a damaged file provokes
            reason = f"{type(error).__name__}: {error}"
            raise WeightsError(f"{path}: its metadata cannot be used: {reason}") from error
