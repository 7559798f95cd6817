"""Names for the help of commands, without the imports of the registries.

The built-in names are repeated here, and a test compares them with the registries. If a plug-in is installed,
which may add names, the registry itself is used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import fer_attention
from fer_attention.plugins import GROUP, named_plugins

DEFAULT_WEIGHTS = "resnetv2_18_eca_elu.ferplus"
MAX_PIXELS = 120_000_000

_RECIPES = (Path(fer_attention.__file__).parent / "training" / "recipes").glob("*.yaml")

BUILT_IN = {
    "faces.DETECTORS": "mtcnn, none, yolo, yunet",
    "data.FORMATS": "affectnet, ckplus, fer2013, ferplus, folder, jaffe, rafdb, table",
    "data.PROTOCOLS": "holdout, loso, official, paper, stratified_kfold, subject_kfold",
    "data.DEGRADATIONS": "blur, eyes, gamma, jpeg, lower_face, noise, resampling, resolution",
    "evaluation.VIEWS": "flip, none, ten-crop",
    "explain.grad_cam.CLASSES": "gradcam, gradcam++, hirescam, xgradcam, layercam, eigencam",
    "training.recipes.RECIPES": ", ".join(sorted(file.stem for file in _RECIPES)),
}
"""Built-in names by registry."""


def choices(registry: str) -> str:
    """Return the names in a registry of `BUILT_IN`, including those of plug-ins."""
    if not entry_points(group=GROUP) and not named_plugins():
        return BUILT_IN[registry]
    module, _, name = registry.rpartition(".")
    return ", ".join(getattr(import_module(f"fer_attention.{module}"), name))
