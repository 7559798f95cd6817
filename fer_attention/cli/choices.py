"""Names that the help of commands lists, without the imports that registering them takes.

The names of this package are written down here, and a test compares them with the registries. Plug-ins may
add names: where one is installed, the registry itself is asked.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import fer_attention
from fer_attention.plugins import GROUP

DEFAULT_WEIGHTS = "resnetv2_18_eca_elu.ferplus"
MAX_PIXELS = 120_000_000

_RECIPES = (Path(fer_attention.__file__).parent / "training" / "recipes").glob("*.yaml")

BUILT_IN = {
    "faces.DETECTORS": "mtcnn, none, yolo, yunet",
    "data.FORMATS": "ckplus, fer2013, ferplus, folder, jaffe",
    "data.PROTOCOLS": "holdout, loso, official, paper, stratified_kfold, subject_kfold",
    "data.DEGRADATIONS": "blur, eyes, gamma, jpeg, lower_face, noise, resampling, resolution",
    "evaluation.VIEWS": "flip, none, ten-crop",
    "explain.grad_cam.CLASSES": "gradcam, gradcam++, hirescam, xgradcam, layercam, eigencam",
    "training.recipes.RECIPES": ", ".join(sorted(file.stem for file in _RECIPES)),
}
"""Names in each registry, by its module and name."""


def choices(registry: str) -> str:
    """List the names in a registry of `BUILT_IN`, those of plug-ins included."""
    if not entry_points(group=GROUP):
        return BUILT_IN[registry]
    module, _, name = registry.rpartition(".")
    return ", ".join(getattr(import_module(f"fer_attention.{module}"), name))
