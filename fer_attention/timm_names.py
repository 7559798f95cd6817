"""Enter our model names into timm once both packages are imported, in either order.

Neither import triggers the other.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Imports(MetaPathFinder):
    """Waits until timm is imported and no module of ours is half imported."""

    def __init__(self) -> None:
        self.running = threading.local()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find timm or a module of ours with the other finders, and watch its loader."""
        if name != "timm" and not name.startswith("fer_attention."):
            return None
        others = [f.find_spec for f in sys.meta_path if f is not self and hasattr(f, "find_spec")]
        spec = next(filter(None, (find(name, path, target) for find in others)), None)
        if spec is not None and spec.loader is not None:
            watched = self._watched(spec.loader.exec_module)
            spec.loader.exec_module = watched  # type: ignore[method-assign, assignment]
        return spec

    def _watched(self, run: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def exec_module(module: ModuleType) -> None:
            self.running.depth = getattr(self.running, "depth", 0) + 1
            try:
                run(module)
            finally:
                self.running.depth -= 1
            if not self.running.depth:
                self.enter_names()

        return exec_module

    def enter_names(self) -> None:
        """Enter our names into timm if it is loaded, and stop watching."""
        if "timm" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            import_module("fer_attention.models.timm_registry").enter_names()


def follow_imports() -> None:
    """Enter our names into timm now if it is loaded, else as soon as it is."""
    imports = _Imports()
    sys.meta_path.insert(0, imports)
    imports.enter_names()
