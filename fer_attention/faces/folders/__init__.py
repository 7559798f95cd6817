"""Crops of the faces in folder trees of photos."""

from fer_attention.faces.folders.manifest import ManifestRow
from fer_attention.faces.folders.options import FolderOptions
from fer_attention.faces.folders.runner import FolderResult, crop_folder
from fer_attention.faces.folders.worker import FolderError

__all__ = ["FolderError", "FolderOptions", "FolderResult", "ManifestRow", "crop_folder"]
