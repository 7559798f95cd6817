"""Bounds of what one request may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServeLimits:
    """Bounds of what requests may ask for.

    >>> ServeLimits(upload_mb=5).upload_bytes
    5000000

    Args:
        upload_mb: Size of a photo's file, in megabytes (1,000,000 bytes).
        megapixels: Size of a photo, in millions of pixels.
        files: Photos that one form may hold.
        waiting: Photos of all requests that may wait; more are refused with status 503.

    Raises:
        ValueError: A limit is not above 0.
    """

    upload_mb: float = 20
    megapixels: float = 50
    files: int = 32
    waiting: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0; got {value}.")

    @property
    def upload_bytes(self) -> int:
        """Size of a photo's file in bytes."""
        return round(self.upload_mb * 1e6)

    @property
    def body_bytes(self) -> int:
        """Size of a request's body in bytes, with room for the form's own lines."""
        return self.files * (self.upload_bytes + 10_000)
