"""Folder trees of photos to the same trees of crops."""

from fer_attention.faces.folders.manifest import COLUMNS, ManifestRow, write_manifest
from fer_attention.faces.folders.options import FolderOptions
from fer_attention.faces.folders.runner import FolderResult, crop_folder
from fer_attention.faces.folders.worker import FolderError

__all__ = [
    "COLUMNS",
    "FolderError",
    "FolderOptions",
    "FolderResult",
    "ManifestRow",
    "crop_folder",
    "write_manifest",
]
