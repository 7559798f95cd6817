"""What `crop_folder` is to do, in a form that can be saved and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from fer_attention.faces.cropper import FaceSelection
from fer_attention.faces.detectors import DETECTORS
from fer_attention.faces.images import MAX_PIXELS
from fer_attention.faces.quality import QualityFilter
from fer_attention.preprocessing import CropRule
from fer_attention.registry import unknown_name

Missing: TypeAlias = Literal["skip", "whole", "raise"]
OnError: TypeAlias = Literal["skip", "raise"]
ManifestFormat: TypeAlias = Literal["csv", "parquet"]


@dataclass(frozen=True)
class FolderOptions:
    """How the photos of a folder become crops.

    A run resumes under the same options only; `on_error` alone may change.

    Args:
        detector: Name of a detector.
        detector_options: Its own options as `create_detector` takes them, of types that JSON has.
        rule: Which part of a photo belongs to a face.
        size: Side of the crops, pixels.
        grey: Whether crops are grey (ITU-R 601 luma) instead of RGB.
        faces: Which of several faces: "largest", "central" or "all".
        quality: Faces that do not pass are listed, not cut.
        missing: A photo without a face is listed alone ("skip"), cut as a "whole", or ends the run ("raise").
        on_error: An image file that cannot be read ends the run ("raise") or is listed ("skip").
        max_pixels: Larger images count as unreadable.
        manifest_format: Format of the list of all crops.

    Raises:
        ValueError: A name is unknown or a number out of its range.
    """

    detector: str = "mtcnn"
    detector_options: Mapping[str, Any] = field(default_factory=dict)
    rule: CropRule = field(default_factory=CropRule)
    size: int = 80
    grey: bool = False
    faces: FaceSelection = "largest"
    quality: QualityFilter = field(default_factory=QualityFilter)
    missing: Missing = "skip"
    on_error: OnError = "raise"
    max_pixels: int = MAX_PIXELS
    manifest_format: ManifestFormat = "csv"

    def __post_init__(self) -> None:
        DETECTORS[self.detector]
        for kind, value, known in (
            ("selection of faces", self.faces, FaceSelection),
            ("policy for photos without a face", self.missing, Missing),
            ("policy for damaged images", self.on_error, OnError),
            ("format of manifests", self.manifest_format, ManifestFormat),
        ):
            if value not in get_args(known):
                raise unknown_name(kind, value, get_args(known))
        for name in ("size", "max_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1 pixel; got {getattr(self, name)}.")
        if self.rule.shape == "aligned" and self.detector == "none":
            raise ValueError("Alignment needs landmarks, and the detector 'none' gives none.")

    def record(self) -> dict[str, Any]:
        """All that decides what is done with a readable photo, flat, for JSON."""
        nested = asdict(self)
        del nested["on_error"]
        flat = {name: value for name, value in nested.items() if not isinstance(value, dict)}
        for name in ("detector_options", "rule", "quality"):
            flat |= {f"{name}.{key}": value for key, value in nested[name].items()}
        return flat
