"""Plug-ins: code of others that registers blocks, families, detectors and more while it is imported.

A package names its module with an entry point in the group `fer_attention.plugins`, which is imported at the
first lookup in a registry. A file or module without a package is imported by `load_plugin`, on the command
line with `--plugin`. docs/plugins.md has an example of each.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
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


_named: list[str] = []


def load_plugin(module: str) -> None:
    """Import a module or a `.py` file that registers blocks and the like; a second call does nothing.

    Worker processes of a study import it as well.

    >>> load_plugin("my_block.py")  # doctest: +SKIP

    Args:
        module: Name of an importable module, also of one in the current folder, or the path of a `.py` file.

    Raises:
        ImportError: It does not exist, or fails while it is imported; the message has the reason.
    """
    path = Path(module)
    name = str(path.resolve()) if path.suffix == ".py" else module
    if name in _named:
        return
    try:
        if path.suffix == ".py":
            _import_file(path)
        else:
            _import_module(module)
    except Exception as error:  # a foreign module may raise anything
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        reason = f"{kind}{error}".rstrip(".")
        raise ImportError(f"The plug-in {module} was not loaded: {reason}.") from error
    _named.append(name)


def named_plugins() -> tuple[str, ...]:
    """Return the modules and files that `load_plugin` has imported, for other processes."""
    return tuple(_named)


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise ImportError("there is no such file")
    spec = spec_from_file_location(path.stem, path)
    if path.stem in sys.modules or spec is None or spec.loader is None:
        raise ImportError(f"there is a module {path.stem} already; rename the file")
    sys.modules[path.stem] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


def _import_module(name: str) -> None:
    sys.path.append("")  # the current folder, which the installed command does not search
    try:
        import_module(name)
    finally:
        sys.path.remove("")


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


def open_registry(kind: str, *, check: Callable[[T], None] | None = None) -> Registry[T]:
    """Return a registry that plug-ins can extend; they are loaded at the first lookup.

    Args:
        kind: The kind of entry, as in `Registry`.
        check: The contract of an entry, as in `Registry`.
    """
    return Registry(kind, before_lookup=load_plugins, check=check)


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
