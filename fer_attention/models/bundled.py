"""Weights that come with the package: `<model name>.<tag>`, trained by this project."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fer_attention.registry import unknown_name

DEFAULT = "resnetv2_18_eca_elu.fer2013"
"""What `EmotionRecognizer.from_pretrained()` takes."""

_SUFFIX = ".safetensors"


def bundled_names() -> list[str]:
    """The names of all bundled weights, sorted."""
    return sorted(
        file.name.removesuffix(_SUFFIX) for file in _folder().iterdir() if file.name.endswith(_SUFFIX)
    )


def weights_path(source: str | Path) -> Path:
    """The weights file that is meant by a path or by the name of bundled weights.

    Raises:
        UnknownNameError: It is no file, and no weights of this name come with the package.
    """
    path = Path(source)
    if path.suffix == _SUFFIX or path.is_file() or len(path.parts) > 1:
        return path
    return bundled_path(str(source))


def bundled_path(name: str) -> Path:
    """The file of bundled weights. `resnetv2_18_eca_elu` without a tag stands for its first tag.

    Raises:
        UnknownNameError: No weights of this name come with the package.
    """
    fitting = [known for known in bundled_names() if name in (known, known.split(".")[0])]
    if not fitting:
        raise unknown_name("bundled weights", name, bundled_names())
    return _folder() / f"{fitting[0]}{_SUFFIX}"


def _folder() -> Path:
    return Path(str(resources.files("fer_attention") / "weights"))
