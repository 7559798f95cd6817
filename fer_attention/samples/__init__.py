"""A photo that comes with the package, for first steps without a photo of one's own."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def sample_photo() -> Path:
    """Return the file of the bundled photo: the astronaut Eileen Collins, smiling (NASA, public domain).

    >>> sample_photo().name
    'astronaut.jpg'
    """
    return _FOLDER / "astronaut.jpg"
