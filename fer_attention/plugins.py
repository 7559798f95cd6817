"""Plug-ins: what other packages register, found by entry point and loaded at the first look into a registry.

A package with the entry point `my_blocks = "my_blocks"` in the group `fer_attention.plugins` names the module
that registers its things when it is imported. docs/plugins.md has an example of each kind.
"""

from __future__ import annotations

import threading
import warnings
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar

from fer_attention.registry import Registry

GROUP = "fer_attention.plugins"

T = TypeVar("T")

_loading = threading.RLock()
_started = False
_done = False


class PluginWarning(UserWarning):
    """A plug-in that could not be loaded; everything else works."""


def load_plugins() -> None:
    """Import the module of every entry point in the group `fer_attention.plugins`, once in a process.

    A plug-in that cannot be imported gives one `PluginWarning`, which names its distribution and the error.
    """
    global _started, _done
    if _done:
        return
    with _loading:  # another thread waits until all are there
        if _started:  # a plug-in looks into a registry while it is imported
            return
        _started = True
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
            _load(entry)
        _done = True


def _load(entry: EntryPoint) -> None:
    try:
        entry.load()
    except Exception as error:  # whatever a foreign module raises
        origin = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
        remedy = f", or uninstall it: pip uninstall {entry.dist.name}" if entry.dist else ""
        warnings.warn(
            f"The plug-in {entry.value!r}{origin} was not loaded, {type(error).__name__}: {error}. "
            f"Mend the package{remedy}.",
            PluginWarning,
            stacklevel=3,
        )


def open_registry(kind: str) -> Registry[T]:
    """A registry that other packages add to: plug-ins are loaded at the first look into it."""
    return Registry(kind, before_look=load_plugins)


RECIPES: Registry[Path] = open_registry("recipe")
STUDIES: Registry[Path] = open_registry("study")


def register_recipes(folder: Path) -> None:
    """Enter every `.yaml` file of a folder as a training recipe, under its name without the suffix.

    Raises:
        ValueError: There is none, or a name is taken or not lower case.
    """
    _register_files(RECIPES, folder)


def register_studies(folder: Path) -> None:
    """Enter every `.yaml` file of a folder as a study, as `register_recipes` does."""
    _register_files(STUDIES, folder)


def _register_files(registry: Registry[Path], folder: Path) -> None:
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ValueError(f"The folder {folder} holds no .yaml file to register as a {registry.kind}.")
    for file in files:
        registry.register(file.stem)(file)
