"""Report of an evaluation, with everything that its numbers depend on, as JSON and as one HTML file."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from fer_attention.atomic import write_atomically
from fer_attention.calibration import Calibration
from fer_attention.classifiers import Classifier, as_classifier
from fer_attention.data.seen import without_digests
from fer_attention.evaluation.crowd import CrowdAgreement
from fer_attention.evaluation.doubt import Doubt
from fer_attention.evaluation.evaluate import Evaluation
from fer_attention.evaluation.metrics import ClassificationMetrics
from fer_attention.evaluation.plots import recall_svg, reliability_svg
from fer_attention.evaluation.tta import VIEWS
from fer_attention.models import FERModel
from fer_attention.models.factory import from_spec
from fer_attention.rendering.page import render_page


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that the numbers depend on, without those that are not installed.

    >>> sorted(library_versions())[:3]
    ['fer_attention', 'numpy', 'pillow']
    """
    import fer_attention

    versions = {
        "fer_attention": fer_attention.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,  # with its build, which package metadata may lack
    }
    for name in ("timm", "numpy", "pillow", "scikit-learn"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def check_libraries(*, html: bool = False) -> None:
    """Check before an evaluation, or its HTML report, that the libraries are there (ImportError)."""
    for library in ("sklearn", "matplotlib") if html else ("sklearn",):
        if find_spec(library) is None:
            raise ImportError(f"This needs {library}: pip install 'fer_attention[train]'.")


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """Metrics of a weights file on data, with everything that the numbers depend on.

    >>> report = EvaluationReport.of(found, model, weights="best.safetensors", data="CK+")  # doctest: +SKIP
    >>> report.write_html(Path("report.html"))  # doctest: +SKIP

    Attributes:
        weights: File name of the weights.
        model: Name of the spec.
        parameters: Learned numbers of the model, None if unknown.
        data: Name of the data.
        split: The part of it.
        results: Measures by set of images; the first is the headline.
        crowd: Agreement with the voters by set of images, where the data has votes.
        doubt: Candidates and confidence by set of images and kind of truth.
        calibration: Temperature of the probabilities, and the rule for the candidates.
        tta: Test-time augmentation, a name in `VIEWS`.
        record: Origin of the weights, as their file says.
        dropped: Images left out by label, because the model lacks it.
        notes: Sentences that belong to the numbers.
        warnings: Those of the notes without which the numbers would mislead.
        machine: Where it was computed, in words.
        seconds: Time that the predictions took.
        versions: Libraries and their versions; by default those of this process.

    Raises:
        ValueError: There is no result.
        UnknownNameError: The test-time augmentation is unknown.
    """

    weights: str
    model: str
    parameters: int | None
    data: str
    split: str
    results: Mapping[str, ClassificationMetrics]
    crowd: Mapping[str, CrowdAgreement] = field(default_factory=dict)
    doubt: Mapping[str, Mapping[str, Doubt]] = field(default_factory=dict)
    calibration: Calibration = Calibration()
    tta: str = "none"
    record: Mapping[str, Any] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    machine: str = "not recorded"
    seconds: float | None = None
    versions: Mapping[str, str] = field(default_factory=library_versions)

    @classmethod
    def of(
        cls, found: Evaluation, model: FERModel | Classifier, *, weights: str, data: str
    ) -> EvaluationReport:
        """Create the report of an evaluation.

        Args:
            found: The evaluation.
            model: What was measured; of a classifier without `metadata` the report has its type as the model.
            weights: File name of its weights.
            data: Name of the data.
        """
        classifier = as_classifier(model)
        name, parameters, record = type(classifier).__name__, None, {}
        metadata = getattr(classifier, "metadata", None)
        if metadata is not None:
            name, record = metadata.spec.name, without_digests(metadata.record)
            structure = from_spec(metadata.spec, device="meta")
            parameters = sum(parameter.numel() for parameter in structure.parameters())
        shared = ("split", "results", "crowd", "doubt", "calibration", "tta", "dropped", "notes", "warnings")
        return cls(
            weights=weights,
            model=name,
            parameters=parameters,
            data=data,
            record=record,
            machine=_machine(torch.device(getattr(classifier, "device", "cpu"))),
            seconds=found.seconds,
            **{name: getattr(found, name) for name in shared},
        )

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("A report needs at least one result.")
        VIEWS[self.tta]

    @property
    def headline(self) -> ClassificationMetrics:
        """The measures of the first set of images."""
        return next(iter(self.results.values()))

    @property
    def passes(self) -> str:
        """The way of predicting, in words."""
        return "one plain pass" if self.tta == "none" else f"mean logits over {self.tta} views"

    @property
    def remarks(self) -> list[str]:
        """Sentences for a reader: the notes, and the images left out."""
        dropped = (
            f"Left out: {count} images labelled {label}, which is not among the answers."
            for label, count in self.dropped.items()
        )
        return [*self.notes, *dropped]

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "n": self.headline.n,
            "labels": list(self.headline.label_names),
            "results": {name: metrics.to_dict() for name, metrics in self.results.items()},
            "crowd": {name: found.to_dict() for name, found in self.crowd.items()},
            "doubt": {
                name: {truth: one.to_dict() for truth, one in found.items()}
                for name, found in self.doubt.items()
            },
            "calibration": asdict(self.calibration),
            "dropped": dict(self.dropped),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "record": dict(self.record),
            "versions": dict(self.versions),
        }

    def to_html(self) -> str:
        """Render one self-contained page, with styles and plots inside and without scripts, fonts or images.

        Raises:
            ImportError: matplotlib is not installed.
        """
        file = resources.files("fer_attention.evaluation") / "templates" / "report.html.jinja"
        return render_page(
            file.read_text(encoding="utf-8"),
            report=self,
            record=json.dumps(dict(self.record), indent=2, ensure_ascii=False),
            chance_loss=math.log(len(self.headline.classes)),
            sections=[
                {
                    "id": f"set-{number}",
                    "name": name,
                    "metrics": metrics,
                    "bins": metrics.reliability.filled(),
                    "recall_svg": recall_svg(metrics, prefix=f"recall-{number}"),
                    "reliability_svg": reliability_svg(metrics.reliability, prefix=f"reliability-{number}"),
                }
                for number, (name, metrics) in enumerate(self.results.items(), start=1)
            ],
        )

    def write_json(self, path: Path) -> None:
        """Write `to_dict` to a file, whole or not at all."""
        write_atomically(path, json.dumps(self.to_dict(), indent=2).encode())

    def write_html(self, path: Path) -> None:
        """Write `to_html` to a file, whole or not at all."""
        write_atomically(path, self.to_html().encode())


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.system()} {platform.machine()}, {device.type}, threads: {torch.get_num_threads()}"
