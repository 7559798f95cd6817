"""Options of `crop_folder`, which are saved with a run and compared when it resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from fer_attention.faces.cropper import FaceSelection
from fer_attention.faces.detectors import DETECTORS
from fer_attention.faces.detectors.rotated import check_rotations
from fer_attention.faces.images import MAX_PIXELS
from fer_attention.faces.quality import QualityFilter
from fer_attention.preprocessing import CropRule
from fer_attention.registry import check_choice

Missing: TypeAlias = Literal["skip", "whole", "raise"]
ManifestFormat: TypeAlias = Literal["csv", "parquet"]


@dataclass(frozen=True)
class FolderOptions:
    """Options for the crops of a folder.

    A run resumes with the same options only; `on_error` may change.

    >>> options = FolderOptions(rule=CropRule(shape="aligned"), size=48, missing="whole")
    >>> options.detector, options.rule.scale
    ('mtcnn', 1.0)

    Args:
        detector: Name of a detector.
        detector_options: Options of the detector for `create_detector`, of types that JSON has.
        rotations: Whether photos are searched in all four rotations (`RotatedDetector`).
        rule: The part of a photo that belongs to a face.
        size: Side of the crops in pixels.
        grey: Whether crops are grey (ITU-R 601 luma) instead of RGB.
        faces: Selection among several faces: "largest", "central" or "all".
        quality: Faces that fail this filter are listed, not cut.
        missing: Photos without a face are only listed ("skip"), cut whole ("whole") or end the run ("raise").
        on_error: Image files that cannot be read end the run ("raise") or are listed ("skip").
        max_pixels: Larger images count as unreadable.
        manifest_format: Format of the manifest: "csv" or "parquet".

    Raises:
        ValueError: A name is unknown or a number is out of range.
    """

    detector: str = "mtcnn"
    detector_options: Mapping[str, Any] = field(default_factory=dict)
    rotations: bool = False
    rule: CropRule = field(default_factory=CropRule)
    size: int = 80
    grey: bool = False
    faces: FaceSelection = "largest"
    quality: QualityFilter = field(default_factory=QualityFilter)
    missing: Missing = "skip"
    on_error: Literal["raise", "skip"] = "raise"
    max_pixels: int = MAX_PIXELS
    manifest_format: ManifestFormat = "csv"

    def __post_init__(self) -> None:
        DETECTORS[self.detector]
        for kind, value, known in (
            ("selection of faces", self.faces, FaceSelection),
            ("policy for photos without a face", self.missing, Missing),
            ("format of manifests", self.manifest_format, ManifestFormat),
        ):
            check_choice(kind, value, get_args(known))
        check_choice("on_error", self.on_error, ("raise", "skip"))
        for name in ("size", "max_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1 pixel; got {getattr(self, name)}.")
        if self.rotations:
            check_rotations(self.detector)
        if self.rule.shape == "aligned" and self.detector == "none":
            raise ValueError("Alignment needs landmarks; use a detector that finds them instead of 'none'.")

    def record(self) -> dict[str, Any]:
        """Return the options that affect readable photos as a flat record for JSON."""
        nested = asdict(self)
        del nested["on_error"]
        flat = {name: value for name, value in nested.items() if not isinstance(value, dict)}
        for name in ("detector_options", "rule", "quality"):
            flat |= {f"{name}.{key}": value for key, value in nested[name].items()}
        return flat
