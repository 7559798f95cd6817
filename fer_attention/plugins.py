"""Plug-ins: other packages register blocks, families, detectors and more through an entry point.

An entry point `my_blocks = "my_blocks"` in the group `fer_attention.plugins` names a module. That module is
imported at the first lookup in a registry and registers its entries. docs/plugins.md has an example of each.
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
    """A plug-in could not be loaded; everything else works."""


def load_plugins() -> None:
    """Import the module of every entry point in the group `fer_attention.plugins`, once per process.

    A plug-in that fails to import causes one `PluginWarning` with its distribution and the error.
    """
    global _started, _done
    if _done:
        return
    with _loading:  # other threads wait until all plug-ins are loaded
        if _started:  # a plug-in looks up an entry while it is imported
            return
        _started = True
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
            _load(entry)
        _done = True


def _load(entry: EntryPoint) -> None:
    try:
        entry.load()
    except Exception as error:  # a foreign module may raise anything
        origin = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
        remedy = f", or uninstall it: pip uninstall {entry.dist.name}" if entry.dist else ""
        warnings.warn(
            f"The plug-in {entry.value!r}{origin} was not loaded, {type(error).__name__}: {error}. "
            f"Fix the package{remedy}.",
            PluginWarning,
            stacklevel=3,
        )


def open_registry(kind: str) -> Registry[T]:
    """Return a registry that plug-ins can extend; they are loaded at the first lookup."""
    return Registry(kind, before_lookup=load_plugins)


RECIPES: Registry[Path] = open_registry("recipe")
STUDIES: Registry[Path] = open_registry("study")


def register_recipes(folder: Path) -> None:
    """Register every `.yaml` file of a folder as a training recipe, under its name without the suffix.

    Raises:
        ValueError: The folder has no such file, or a name is taken or not lower case.
    """
    _register_files(RECIPES, folder)


def register_studies(folder: Path) -> None:
    """Register every `.yaml` file of a folder as a study, as `register_recipes` does."""
    _register_files(STUDIES, folder)


def _register_files(registry: Registry[Path], folder: Path) -> None:
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ValueError(f"The folder {folder} has no .yaml file to register as a {registry.kind}.")
    for file in files:
        registry.register(file.stem)(file)
